"""Every architecture of the zoo, the wide ones narrowed, so that tests stay quick."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from camfit.zoo import (
    alexnet,
    densenet,
    digits_cnn,
    fire_small,
    googlenet,
    lenet5,
    lenet_300_100,
    mobilenet_v1,
    mobilenet_v2,
    resnet18,
    resnet20,
    resnet50,
    shufflenet_v1,
    squeezenet,
    unet,
    vgg16,
    vgg_small,
)

Build = Callable[[tuple[int, int, int], int], nn.Module]

SMALL: Mapping[str, Build] = {
    "alexnet": lambda shape, classes: alexnet.build(shape, classes, width=0.05),
    "densenet121": lambda shape, classes: densenet.build(shape, classes, growth=6, blocks=(2, 3, 2, 2)),
    "digits_cnn": digits_cnn.build,
    "fire_small": fire_small.build,
    "googlenet": lambda shape, classes: googlenet.build(shape, classes, width=0.25),
    "lenet5": lenet5.build,
    "lenet_300_100": lenet_300_100.build,
    "mobilenet_v1": lambda shape, classes: mobilenet_v1.build(shape, classes, width=0.125),
    "mobilenet_v1_025": mobilenet_v1.build_quarter,
    "mobilenet_v2": lambda shape, classes: mobilenet_v2.build(shape, classes, width=0.25),
    "resnet18": lambda shape, classes: resnet18.build(shape, classes, width=4),
    "resnet20": lambda shape, classes: resnet20.build(shape, classes, depth=8, width=4),
    "resnet50": lambda shape, classes: resnet50.build(shape, classes, width=4),
    "shufflenet_v1": lambda shape, classes: shufflenet_v1.build(shape, classes, width=0.5),
    "squeezenet_1_0": squeezenet.build_1_0,
    "squeezenet_1_1": squeezenet.build_1_1,
    "unet": lambda shape, classes: unet.build(shape, classes, width=4),
    "vgg16": lambda shape, classes: vgg16.build(shape, classes, width=0.125),
    "vgg_small": lambda shape, classes: vgg_small.build(shape, classes, width=8),
}
# Inputs of architectures that do not take every size.
LARGE: Mapping[str, tuple[int, int, int]] = {"alexnet": (3, 70, 100), "unet": (3, 32, 32)}
# They give logits for every pixel.
OF_PIXELS = ("unet",)

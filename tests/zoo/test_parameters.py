"""Parameter counts equal the papers' (or the hand count, where a paper gives none)."""

import pytest
import torch
from torch import nn

from camfit import zoo
from camfit.zoo import alexnet, mobilenet_v1, mobilenet_v2, resnet20, shufflenet_v1, unet, vgg_small


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("lenet5", (1, 28, 28), 431_080),  # Caffe's; Han et al. 2015: 431K
        ("lenet_300_100", (1, 28, 28), 266_610),  # Han et al. 2015: 267K
        ("resnet20", (3, 32, 32), 272_474),  # He et al. 2016: 0.27M; option A's 269,722 and two 1x1 shortcuts
        ("digits_cnn", (1, 8, 8), 160 + 4_640 + 9_248 + 8_256 + 650),
        ("fire_small", (3, 32, 32), 928 + 2_960 + 3_216 + 11_552 + 12_576 + 26_544 + 1_930),
    ],
)
def test_counts(name: str, shape: tuple[int, int, int], expected: int) -> None:
    assert count(zoo.build(name, shape, 10)) == expected


def test_resnet20_with_the_papers_shortcuts() -> None:
    model = resnet20.build((3, 32, 32), 10)
    shortcuts = sum(count(layer) for path, layer in model.named_modules() if path.endswith("shortcut"))
    assert shortcuts == (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)
    assert count(model) - shortcuts == 269_722
    assert round(count(resnet20.build((3, 32, 32), 10, depth=56)) / 1e6, 2) == 0.86  # the paper's 0.85M with option A


def macs(model: nn.Module, shape: tuple[int, int, int]) -> int:
    """Multiply-accumulates of one image; the model lives on the device meta, so that nothing is computed."""
    total = 0

    def hook(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal total
        total += layer.weight.numel() * output[0, 0].numel()  # type: ignore[operator, union-attr]

    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(hook)
    model.eval()(torch.zeros(1, *shape, device="meta"))
    return total


@pytest.mark.parametrize(
    ("name", "parameters", "million_macs"),
    [
        ("alexnet", 61_100_840, 714),  # torchvision's count; MACs 720e6 by the paper's shapes
        ("densenet121", 7_978_856, 2_830),  # torchvision's, which gives 2.83 GFLOPS
        ("googlenet", 6_624_904, 1_500),  # torchvision's, which gives 1.50 GFLOPS; Szegedy et al. 2015: 1.5e9
        ("mobilenet_v2", 3_504_872, 300),  # torchvision's; Sandler et al. 2018, table 4: 3.4M, 300M
        ("resnet18", 11_689_512, 1_800),  # torchvision's; He et al. 2016, table 1: 1.8e9
        ("resnet50", 25_557_032, 4_090),  # torchvision's, which gives 4.09 GFLOPS; He et al. 2016: 3.8e9
        ("shufflenet_v1", 1_865_728, 137),  # counted; Zhang et al. 2018, table 2: 137 MFLOPs
        ("squeezenet_1_0", 1_248_424, 819),  # torchvision's; counted
        ("squeezenet_1_1", 1_235_496, 349),  # torchvision's; its authors: 2.4 times less than 1.0
        ("vgg16", 138_357_544, 15_470),  # torchvision's, which gives 15.47; Simonyan and Zisserman 2015: 138 million
    ],
)
def test_networks_for_imagenet(name: str, parameters: int, million_macs: int) -> None:
    with torch.device("meta"):
        model = zoo.build(name, (3, 224, 224), 1000)
    assert count(model) == parameters
    assert macs(model, (3, 224, 224)) == pytest.approx(1e6 * million_macs, rel=0.01)


@pytest.mark.parametrize(
    ("groups", "stage2", "million_macs"), [(1, 144, 143), (2, 200, 140), (3, 240, 137), (4, 272, 133), (8, 384, 137)]
)  # Zhang et al. 2018, tables 1 and 2
def test_shufflenet_costs_the_same_with_any_number_of_groups(groups: int, stage2: int, million_macs: int) -> None:
    with torch.device("meta"):
        model = shufflenet_v1.build((3, 224, 224), 1000, groups=groups)
    assert model.stage3[0].compress.in_channels == stage2
    grouped = [layer.groups for path, layer in model.named_modules() if path.endswith(("compress", "expand"))]
    assert grouped == [1] + [groups] * 31  # the first 1x1 convolution of stage 2 is not grouped
    assert macs(model, (3, 224, 224)) == pytest.approx(1e6 * million_macs, rel=0.015)


@pytest.mark.parametrize(("width", "million_macs"), [(0.5, 38), (0.25, 13)])  # Zhang et al. 2018, table 2
def test_shufflenet_narrows(width: float, million_macs: int) -> None:
    with torch.device("meta"):
        assert macs(shufflenet_v1.build((3, 224, 224), 1000, width=width), (3, 224, 224)) <= 1e6 * million_macs


def test_mobilenet_v2_rounds_its_channels_to_eight() -> None:
    with torch.device("meta"):
        model = mobilenet_v2.build((3, 224, 224), 1000, width=1.4)
        assert macs(model, (3, 224, 224)) == pytest.approx(585e6, rel=0.01)  # Sandler et al. 2018, table 4
        narrow = mobilenet_v2.build((3, 224, 224), 1000, width=0.35)
    channels = {layer.out_channels for layer in narrow.modules() if isinstance(layer, nn.Conv2d)}
    assert all(number % 8 == 0 for number in channels) and 1280 in channels


def test_unet_of_the_paper() -> None:
    """Counted by hand from the paper's figure 1: pairs of 3x3 convolutions, 2x2 up-convolutions, a 1x1 convolution."""
    widths = [64, 128, 256, 512, 1024]
    down = sum(9 * (a * b + b * b) + 2 * b for a, b in zip([1, *widths], widths, strict=False))
    up = sum(4 * 2 * c * c + c + 9 * (2 * c * c + c * c) + 2 * c for c in widths[:-1])
    with torch.device("meta"):
        assert count(unet.build((1, 64, 64), 2, width=64, depth=4)) == down + up + 64 * 2 + 2 == 31_030_658


def test_alexnet_at_both_sizes_of_its_papers() -> None:
    for size, parameters in ((224, 61_100_840), (227, 61_100_840), (63, 61_100_840 - 35 * 256 * 4096)):
        with torch.device("meta"):
            assert count(alexnet.build((3, size, size), 1000)) == parameters


# The first and last paths of torchvision's state dicts, with shapes.
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("alexnet", {"features.0.weight": [64, 3, 11, 11], "features.10.bias": [256], "classifier.6.bias": [1000]}),
        (
            "densenet121",
            {
                "features.conv0.weight": [64, 3, 7, 7],
                "features.denseblock1.denselayer6.conv2.weight": [32, 128, 3, 3],
                "features.transition3.norm.running_mean": [1024],
                "features.denseblock4.denselayer16.norm1.bias": [992],
                "features.norm5.weight": [1024],
                "classifier.bias": [1000],
            },
        ),
        (
            "googlenet",
            {
                "conv1.conv.weight": [64, 3, 7, 7],
                "inception3a.branch1.bn.running_var": [64],
                "inception4e.branch3.1.conv.weight": [128, 32, 3, 3],
                "inception5b.branch4.1.conv.weight": [128, 832, 1, 1],
                "fc.weight": [1000, 1024],
            },
        ),
        (
            "mobilenet_v2",
            {
                "features.0.0.weight": [32, 3, 3, 3],
                "features.1.conv.0.1.running_var": [32],
                "features.1.conv.1.weight": [16, 32, 1, 1],
                "features.2.conv.3.num_batches_tracked": [],
                "features.18.1.bias": [1280],
                "classifier.1.weight": [1000, 1280],
            },
        ),
        (
            "resnet18",
            {"bn1.running_mean": [64], "layer2.0.downsample.0.weight": [128, 64, 1, 1], "fc.weight": [1000, 512]},
        ),
        (
            "resnet50",
            {
                "layer1.0.downsample.0.weight": [256, 64, 1, 1],
                "layer4.2.bn3.bias": [2048],
                "layer3.5.conv2.weight": [256, 256, 3, 3],
                "fc.weight": [1000, 2048],
            },
        ),
        ("squeezenet_1_0", {"features.12.expand3x3.weight": [256, 64, 3, 3], "classifier.1.weight": [1000, 512, 1, 1]}),
        ("squeezenet_1_1", {"features.12.expand3x3.weight": [256, 64, 3, 3], "features.3.squeeze.bias": [16]}),
        (
            "vgg16",
            {"features.28.weight": [512, 512, 3, 3], "classifier.0.weight": [4096, 25088], "classifier.6.bias": [1000]},
        ),
    ],
)
def test_paths_are_torchvisions(name: str, expected: dict[str, list[int]]) -> None:
    with torch.device("meta"):
        state = zoo.build(name, (3, 224, 224), 1000).state_dict()
    assert {path: list(state[path].shape) for path in expected} == expected


@pytest.mark.parametrize(("width", "expected"), [(1.0, 4_231_976), (0.25, 470_072)])  # Howard et al. 2017: 4.2M, 0.5M
def test_mobilenet(width: float, expected: int) -> None:
    assert count(mobilenet_v1.build((3, 224, 224), 1000, width=width)) == expected


def test_mobilenet_halves_five_times_on_large_images_only() -> None:
    for size, last in ((224, 7), (96, 3), (64, 4), (32, 4), (28, 4), (8, 4)):
        model = mobilenet_v1.build((3, size, size), 10, width=0.05).eval()
        with torch.no_grad():
            assert model.features(torch.zeros(1, 3, size, size)).shape[2:] == (last, last), size


def test_vgg_small() -> None:
    model = vgg_small.build((3, 32, 32), 10)
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    # 2x128C3 - MP2 - 2x256C3 - MP2 - 2x512C3 - MP2 - 2x1024FC - 10 (BinaryConnect)
    assert [layer.weight.shape[0] for layer in layers] == [128, 128, 256, 256, 512, 512, 1024, 1024, 10]
    assert sum(layer.weight.numel() for layer in layers) == 14_022_016


def test_option_b_only_where_the_shape_changes() -> None:
    model = resnet20.build((3, 32, 32), 10)
    kinds = [type(block.shortcut) for block in model.modules() if isinstance(block, resnet20.Block)]
    assert kinds == [nn.Identity] * 3 + [nn.Sequential, nn.Identity, nn.Identity] * 2


def test_lenet5_on_other_sizes() -> None:
    # 32x32 leaves 5x5 of 50 channels; 8x8 is padded and leaves 2x2
    assert count(zoo.build("lenet5", (1, 32, 32), 10)) == 520 + 25_050 + 1_250 * 500 + 500 + 5_010
    assert count(zoo.build("lenet5", (1, 8, 8), 10)) == 520 + 25_050 + 200 * 500 + 500 + 5_010

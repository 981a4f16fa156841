"""Parameter counts equal the papers' (or the hand count, where a paper gives none)."""

import pytest
import torch
from torch import nn

from camfit import zoo
from camfit.zoo import mobilenet_v1, resnet20, vgg_small


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

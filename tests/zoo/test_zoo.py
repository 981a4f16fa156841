"""Laws that every architecture keeps."""

import pytest
import torch
from torch import nn

from camfit import zoo
from camfit.errors import ModelError
from camfit.zoo import (
    alexnet,
    densenet,
    fire_small,
    googlenet,
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
from small_zoo import LARGE, OF_PIXELS, SMALL

SHAPES = [(1, 8, 8), (3, 9, 13), (1, 28, 28), (3, 32, 32), (2, 33, 16)]


def test_the_table_above_is_complete() -> None:
    assert tuple(SMALL) == zoo.names()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", [name for name in zoo.names() if name not in OF_PIXELS])
def test_logits_at_any_input_size(name: str, shape: tuple[int, int, int]) -> None:
    if name in LARGE:
        shape = (shape[0], *(size + 60 for size in shape[1:]))
    model = SMALL[name](shape, 7).eval()
    with torch.no_grad():
        assert model(torch.randn(2, *shape)).shape == (2, 7)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 24, 16)])
def test_logits_of_every_pixel(shape: tuple[int, int, int]) -> None:
    with torch.no_grad():
        assert SMALL["unet"](shape, 7).eval()(torch.randn(2, *shape)).shape == (2, 7, *shape[1:])


@pytest.mark.parametrize("name", zoo.names())
def test_every_parameter_learns_from_the_first_step(name: str) -> None:
    torch.manual_seed(0)
    shape = LARGE.get(name, (3, 32, 32))
    model = SMALL[name](shape, 10)
    model(torch.randn(8, *shape)).logsumexp(dim=1).sum().backward()
    for path, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), path


@pytest.mark.parametrize("name", zoo.names())
def test_the_seed_decides_the_weights(name: str) -> None:
    def weights(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(seed)
        return list(SMALL[name](LARGE.get(name, (1, 16, 16)), 10).parameters())

    assert all(torch.equal(a, b) for a, b in zip(weights(1), weights(1), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights(1), weights(2), strict=True))


@pytest.mark.parametrize("name", zoo.names())
def test_weights_start_with_the_variance_of_he(name: str) -> None:
    torch.manual_seed(0)
    for path, layer in SMALL[name](LARGE.get(name, (1, 28, 28)), 10).named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            # He et al. 2015: 2 / fan-in before a ReLU, 1 / fan-in where none follows (convolutions of LeNet-5)
            gain = 1 if name == "lenet5" and path.startswith("conv") else 2
            spread = 6 * (2 / layer.weight.numel()) ** 0.5  # six standard errors of a variance
            ratio = layer.weight.var(unbiased=False).item() * layer.weight[0].numel() / gain
            assert ratio == pytest.approx(1, abs=spread), path
            assert layer.bias is None or not layer.bias.any(), path


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("alexnet", 63),
        ("densenet121", 3),
        ("digits_cnn", 4),
        ("fire_small", 4),
        ("googlenet", 3),
        ("lenet5", 4),
        ("mobilenet_v1_025", 3),
        ("mobilenet_v2", 3),
        ("resnet18", 3),
        ("resnet20", 4),
        ("resnet50", 3),
        ("shufflenet_v1", 3),
        ("squeezenet_1_0", 3),
        ("squeezenet_1_1", 3),
        ("vgg16", 3),
        ("vgg_small", 8),
    ],
)
def test_too_small_an_input_is_refused(name: str, least: int) -> None:
    with torch.no_grad():
        assert SMALL[name]((1, least, least), 2).eval()(torch.zeros(1, 1, least, least)).shape == (1, 2)
    with pytest.raises(ModelError, match=rf"(mobilenet_v1|{name}): input shape .*at least {least}x{least} pixels"):
        zoo.build(name, (1, least - 1, least + 20), 2)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ModelError, match=r"unknown architecture 'lenet'; expected one of alexnet, .*vgg_small"):
        zoo.build("lenet", (1, 28, 28), 10)
    with pytest.raises(ModelError, match="unknown architecture 'lenet'"):
        zoo.training("lenet")
    with pytest.raises(ModelError, match="lenet5: 1 classes; expected at least 2"):
        zoo.build("lenet5", (1, 28, 28), 1)
    with pytest.raises(ModelError, match="resnet20: depth 21"):
        resnet20.build((3, 32, 32), 10, depth=21)
    with pytest.raises(ModelError, match="mobilenet_v1: width 0"):
        mobilenet_v1.build((3, 32, 32), 10, width=0)
    with pytest.raises(ModelError, match="vgg_small: width 0"):
        vgg_small.build((3, 32, 32), 10, width=0)
    with pytest.raises(ModelError, match="alexnet: width 0"):
        alexnet.build((3, 64, 64), 10, width=0)
    with pytest.raises(
        ModelError, match=r"alexnet: of 256x224 pixels the convolutions leave 7x6; expected at most 6 or"
    ):
        alexnet.build((3, 256, 224), 10)
    with pytest.raises(ModelError, match="mobilenet_v2: width -1"):
        mobilenet_v2.build((3, 32, 32), 10, width=-1)
    with pytest.raises(ModelError, match="resnet18: width 0"):
        resnet18.build((3, 32, 32), 10, width=0)
    with pytest.raises(ModelError, match="shufflenet_v1: 5 groups; expected one of 1, 2, 3, 4, 8"):
        shufflenet_v1.build((3, 32, 32), 10, groups=5)
    with pytest.raises(ModelError, match="shufflenet_v1: width 5"):
        shufflenet_v1.build((3, 32, 32), 10, width=5)
    with pytest.raises(ModelError, match="squeezenet_1_1: squeeze ratio 0"):
        squeezenet.build_1_1((3, 32, 32), 10, squeeze_ratio=0)
    with pytest.raises(ModelError, match="fire_small: width 3"):
        fire_small.build((3, 32, 32), 10, width=3)
    with pytest.raises(ModelError, match=r"densenet121: growth 4, blocks \[2, 0\]"):
        densenet.build((3, 32, 32), 10, growth=4, blocks=(2, 0))
    with pytest.raises(ModelError, match="googlenet: width 0"):
        googlenet.build((3, 32, 32), 10, width=0)
    with pytest.raises(ModelError, match="resnet50: width 0"):
        resnet50.build((3, 32, 32), 10, width=0)
    with pytest.raises(ModelError, match="vgg16: width 5"):
        vgg16.build((3, 32, 32), 10, width=5)
    with pytest.raises(ModelError, match="unet: 12x16 pixels; expected multiples of 8"):
        zoo.build("unet", (3, 12, 16), 2)
    with pytest.raises(ModelError, match="unet: width 4, depth 0"):
        unet.build((3, 16, 16), 2, width=4, depth=0)

"""Second derivatives against autograd's own Hessian, and where Gauss-Newton equals it and where it does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from camfit.methods.curvature import FACTORS, gauss_newton_diagonal, hessian_diagonal, loss_factors, slopes
from camfit.network import INPUT, Network, Node
from methods.chain import chain, linear


def data(*shape: int, count: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(count, *shape, generator=generator, dtype=torch.float64)
    return inputs, torch.randint(0, 3, (count,), generator=generator)


def perceptron() -> Network:
    torch.manual_seed(0)
    return chain((4,), fc1=nn.Linear(4, 5), relu=nn.ReLU(), fc2=nn.Linear(5, 3)).double()


def convolutional() -> Network:
    """Stride, padding, groups, batch-norm, both poolings and dropout, which is off here."""
    torch.manual_seed(0)
    network = chain(
        (2, 6, 6),
        conv1=nn.Conv2d(2, 4, 3, padding=1),
        norm=nn.BatchNorm2d(4),
        relu1=nn.ReLU(),
        pool=nn.MaxPool2d(2),
        conv2=nn.Conv2d(4, 4, (3, 2), stride=(2, 1), padding=(1, 0), groups=2),
        relu2=nn.ReLU(),
        drop=nn.Dropout(0.5),
        mean=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        fc=nn.Linear(4, 3),
    ).double()
    norm = network.layer("norm")
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_var is not None
    norm.running_var.uniform_(0.5, 1.5)
    return network


def shared() -> Network:
    """One layer called twice: along one of its weights the outputs are curved."""
    torch.manual_seed(0)
    layers: dict[str, nn.Module] = {"fc": nn.Linear(3, 3), "relu": nn.ReLU()}
    nodes = (Node("fc", "fc", (INPUT,)), Node("relu", "relu", ("fc",)), Node("fc@2", "fc", ("relu",)))
    return Network(nodes, layers, (3,)).eval().double()


def smooth() -> Network:
    """A soft-max inside: curved everywhere."""
    torch.manual_seed(0)
    return chain((4,), fc1=nn.Linear(4, 4), soft=nn.Softmax(1), fc2=nn.Linear(4, 3)).double()


def full_hessian(network: Network, path: str, inputs: Tensor, targets: Tensor) -> Tensor:
    """Autograd's Hessian of the mean cross-entropy with respect to one weight, all elements, as a square matrix."""
    weight = dict(network.named_parameters())[f"{path}.weight"].detach()

    def loss(flat: Tensor) -> Tensor:
        outputs = functional_call(network, {f"{path}.weight": flat.reshape(weight.shape)}, (inputs,))
        return F.cross_entropy(outputs, targets)

    found = torch.autograd.functional.hessian(loss, weight.flatten())
    assert isinstance(found, Tensor)
    return found


@pytest.mark.parametrize("make", [perceptron, convolutional, shared, smooth])
def test_the_exact_diagonal_is_that_of_autograds_hessian(make: Callable[[], Network]) -> None:
    network = make()
    inputs, targets = data(*network.input_shape)
    found = hessian_diagonal(network, inputs, targets, network.weighted())
    for path in network.weighted():
        expected = full_hessian(network, path, inputs, targets).diagonal().reshape(found[path].shape)
        torch.testing.assert_close(found[path], expected, rtol=1e-5, atol=1e-9)
        assert bool((expected != 0).any())


@pytest.mark.parametrize("make", [perceptron, convolutional])
def test_gauss_newton_is_the_hessians_diagonal_where_outputs_are_straight_along_each_weight(
    make: Callable[[], Network],
) -> None:
    network = make()
    inputs, targets = data(*network.input_shape)
    found = gauss_newton_diagonal(network, inputs, network.weighted())
    for path in network.weighted():
        expected = full_hessian(network, path, inputs, targets).diagonal().reshape(found[path].shape)
        torch.testing.assert_close(found[path], expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(("make", "path"), [(shared, "fc"), (smooth, "fc1")])
def test_gauss_newton_differs_from_the_hessian_where_outputs_are_curved(make: Callable[[], Network], path: str) -> None:
    network = make()
    inputs, targets = data(*network.input_shape)
    found = gauss_newton_diagonal(network, inputs, [path])[path].flatten()
    hessian = full_hessian(network, path, inputs, targets).diagonal()
    assert float((found - hessian).abs().max()) > 0.05 * float(hessian.abs().max())
    # It is still J'SJ: autograd's Jacobian, and S written out.
    weight = dict(network.named_parameters())[f"{path}.weight"].detach()
    expected = torch.zeros_like(found)
    for image in inputs:

        def outputs(flat: Tensor, image: Tensor = image) -> Tensor:
            new = {f"{path}.weight": flat.reshape(weight.shape)}
            return functional_call(network, new, (image[None],))[0]  # type: ignore[no-any-return]

        jacobian = torch.autograd.functional.jacobian(outputs, weight.flatten())
        assert isinstance(jacobian, Tensor)
        p = outputs(weight.flatten()).softmax(0)
        expected += (jacobian.T @ (p.diag() - torch.outer(p, p)) @ jacobian).diagonal() / len(inputs)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_they_are_second_derivatives_and_no_squared_gradients() -> None:
    """At x = 1 with weights (0, 0): p = ½ each, h = p(1 - p)·x² = ¼ whatever the label; so are the squared gradients
    (p - y)² = ¼, but at weights (1, -1) p = 0.881: h = 0.105, and the squared gradients are 0.0142 or 0.776."""
    network = chain((1,), fc=linear([[1.0], [-1.0]]))
    inputs = torch.ones(1, 1)
    h = gauss_newton_diagonal(network, inputs, ["fc"])["fc"].flatten().tolist()
    assert h == pytest.approx([0.10499, 0.10499], abs=1e-4)
    for label in (0, 1):
        exact = hessian_diagonal(network, inputs, torch.tensor([label]), ["fc"])["fc"].flatten().tolist()
        assert exact == pytest.approx(h, abs=1e-6)
        loss = F.cross_entropy(network(inputs), torch.tensor([label]))
        (gradient,) = torch.autograd.grad(loss, [network.layer("fc").weight])  # type: ignore[list-item]
        assert float(gradient[0].square()) == pytest.approx((0.0142, 0.7758)[label], abs=1e-3)


def test_the_factors_squares_are_the_losss_second_derivative() -> None:
    outputs = torch.randn(1, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    p = outputs.softmax(1)[0]
    factors = torch.cat(list(loss_factors(outputs, 0, torch.Generator())))
    torch.testing.assert_close(factors.T @ factors, p.diag() - torch.outer(p, p))


def test_a_maps_loss_is_the_mean_over_its_positions() -> None:
    outputs = torch.randn(1, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    factors = torch.stack([v.flatten() for v in loss_factors(outputs, 0, torch.Generator())])

    def loss(flat: Tensor) -> Tensor:
        return F.cross_entropy(flat.reshape(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64))

    expected = torch.autograd.functional.hessian(loss, outputs.flatten())
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(factors.T @ factors, expected)


@pytest.mark.parametrize("shape", [(1, 3), (1, 2, 1, 2)])
def test_drawn_factors_are_right_on_average(shape: tuple[int, ...]) -> None:
    outputs = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    exact = torch.stack([v.flatten() for v in loss_factors(outputs, 0, torch.Generator())])
    drawn = torch.stack([v.flatten() for v in loss_factors(outputs, 20_000, torch.Generator().manual_seed(1))])
    torch.testing.assert_close(drawn.T @ drawn, exact.T @ exact, rtol=0, atol=0.01)


def test_so_many_factors_are_taken() -> None:
    def count(shape: tuple[int, ...], samples: int) -> int:
        return len(list(loss_factors(torch.zeros(shape), samples, torch.Generator())))

    assert count((2, 10), 0) == 10
    assert count((2, 10), 3) == 3
    assert count((2, 5, 2, 2), 0) == 20
    assert count((2, 1000), 0) == FACTORS


def test_batches_make_no_difference() -> None:
    network = convolutional()
    inputs, _ = data(*network.input_shape, count=70)
    whole = gauss_newton_diagonal(network, inputs, network.weighted())
    parts = [gauss_newton_diagonal(network, part, network.weighted()) for part in inputs.split(35)]
    for path, value in whole.items():
        torch.testing.assert_close(value, (parts[0][path] + parts[1][path]) / 2)


def test_an_images_slope_is_autograds_gradient() -> None:
    network = convolutional()
    inputs, _ = data(*network.input_shape, count=2)
    weights = [dict(network.named_parameters())[f"{path}.weight"] for path in network.weighted()]
    for factors in slopes(network, inputs, network.weighted()):
        for factor, one in zip(loss_factors(network(inputs), 0, torch.Generator()), factors, strict=True):
            for image in range(2):
                outputs = network(inputs[image : image + 1])
                expected = torch.autograd.grad(outputs, weights, factor[image : image + 1].detach())
                for path, gradient in zip(network.weighted(), expected, strict=True):
                    torch.testing.assert_close(one[path].per_image()[image], gradient)

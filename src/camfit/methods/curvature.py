"""Second derivatives of the soft-max cross-entropy with respect to weights: the Hessian and its Gauss-Newton part.

For outputs f and weights w the Hessian of the mean loss is J'SJ + Σ_c (∂L/∂f_c)·∂²f_c/∂w². The first part is the
Gauss-Newton matrix; S = diag(p) - pp' is the loss's own second derivative and splits into square-root factors,
S = Σ_c v_c v_c' with v_c = √p_c·(e_c - p). Each factor goes back through the network once and gives J'v_c, image by
image, so every element of J'SJ is exact; these are not the squared gradients of the loss, which depend on the labels.

Along a single weight of a network of ReLUs, pooling and batch-norm the outputs are straight lines, and the second part
adds nothing to the diagonal: there both diagonals are one and the same, unless a layer is called more than once.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camfit.forms import attach, weight_of
from camfit.layers import pair
from camfit.network import Network

# Outputs of one image (classes x positions) up to which every factor is taken; beyond, as many are drawn.
FACTORS = 100

# Images that go through the network at once.
_IMAGES = 64


@dataclass(frozen=True, eq=False)
class Slopes:
    """What one layer reads, and J'v at what it gives, for a batch of images and one factor v.

    Attributes:
        layer: a convolution or a linear layer.
        reads: [N, ...] of each call.
        back: J'v at the outputs of each call, [N, ...].
    """

    layer: nn.Conv2d | nn.Linear
    reads: tuple[Tensor, ...]
    back: tuple[Tensor, ...]

    @property
    def single(self) -> bool:
        """True where an image's derivative is one outer product: a linear layer that is called once, on vectors."""
        return isinstance(self.layer, nn.Linear) and len(self.reads) == 1 and self.reads[0].dim() == 2

    def per_image(self) -> Tensor:
        """J'v at the weight, image by image: [N, *weight.shape]."""
        return functools.reduce(torch.add, map(functools.partial(_per_image, self.layer), self.reads, self.back))

    def squares(self) -> Tensor:
        """Σ over images of (J'v)² at the weight, elementwise."""
        if self.single:
            return self.back[0].square().T @ self.reads[0].square()
        return self.per_image().square().sum(0)


def slopes(
    network: Network, inputs: Tensor, paths: Iterable[str], samples: int = 0, seed: int = 0
) -> Iterator[Iterator[dict[str, Slopes]]]:
    """For each batch of images, the slopes by layer, factor by factor: Σ (J'v)(J'v)' over all is J'SJ times the images.

    A batch's factors are computed as they are taken, before the next batch is asked for.
    A network that gives a map [N, C, H, W] has the mean of the loss over its positions.

    Args:
        network: in evaluation mode here, whatever its own; stays as it is.
        inputs: normalised images [N, ...].
        paths: convolutions and linear layers that are not binary.
        samples: classes to draw for each image and position from the network's own probabilities instead of taking all;
            the sum is then right on average. 0 takes all, or FACTORS draws where an image has more outputs than that.
        seed: of the draws.
    """
    still = network.clone().eval()
    generator = torch.Generator().manual_seed(seed)
    paths = tuple(paths)
    for batch in inputs.split(_IMAGES):
        with torch.enable_grad():
            values = still.values(batch.detach().requires_grad_())
        yield _slopes(still, values, paths, samples, generator)


def _slopes(
    network: Network, values: dict[str, Tensor], paths: tuple[str, ...], samples: int, generator: torch.Generator
) -> Iterator[dict[str, Slopes]]:
    """The slopes of one batch, factor by factor, given every value of the network."""
    outputs = values[network.nodes[-1].name]
    calls = {path: network.calls(path) for path in paths}
    names = [call.name for path in paths for call in calls[path]]
    for factor in loss_factors(outputs.detach(), samples, generator):
        back = torch.autograd.grad(
            outputs, [values[name] for name in names], factor, retain_graph=True, materialize_grads=True
        )
        by_name = dict(zip(names, back, strict=True))
        found: dict[str, Slopes] = {}
        for path in paths:
            layer = network.layer(path)
            assert isinstance(layer, nn.Conv2d | nn.Linear)
            reads = tuple(values[call.inputs[0]].detach() for call in calls[path])
            found[path] = Slopes(layer, reads, tuple(by_name[call.name] for call in calls[path]))
        yield found


def loss_factors(outputs: Tensor, samples: int, generator: torch.Generator) -> Iterator[Tensor]:
    """v with Σ v v' = S, the second derivative of the soft-max cross-entropy at these outputs, each of their shape.

    Args:
        outputs: logits [N, C], or [N, C, H, W], whose loss is the mean over positions.
        samples: see :func:`slopes`.
        generator: of the draws.
    """
    logits = outputs.flatten(2) if outputs.dim() > 2 else outputs[:, :, None]
    images, classes, positions = logits.shape
    p = logits.softmax(1)
    draws = samples or (FACTORS if classes * positions > FACTORS else 0)
    if not draws:
        for position in range(positions):
            for label in range(classes):
                factor = torch.zeros_like(p)
                factor[:, :, position] = -p[:, :, position]
                factor[:, label, position] += 1
                factor *= (p[:, label : label + 1, position : position + 1] / positions).sqrt()
                yield factor.reshape(outputs.shape)
        return
    rows = p.transpose(1, 2).reshape(-1, classes)
    for _ in range(draws):
        drawn = torch.multinomial(rows, 1, generator=generator).reshape(images, positions)
        factor = F.one_hot(drawn, classes).transpose(1, 2) - p
        yield (factor / math.sqrt(draws * positions)).reshape(outputs.shape)


def gauss_newton_diagonal(
    network: Network, inputs: Tensor, paths: Iterable[str], samples: int = 0, seed: int = 0
) -> dict[str, Tensor]:
    """Diagonal of the Gauss-Newton matrix of the mean loss over images, by layer, the weight's shape.

    Arguments are those of :func:`slopes`.
    """
    totals: dict[str, Tensor] = {}
    for factors in slopes(network, inputs, paths, samples, seed):
        for one in factors:
            for path, slope in one.items():
                squares = slope.squares()
                totals[path] = totals[path] + squares if path in totals else squares
    return {path: total / len(inputs) for path, total in totals.items()}


def hessian_diagonal(network: Network, inputs: Tensor, targets: Tensor, paths: Iterable[str]) -> dict[str, Tensor]:
    """Diagonal of the whole Hessian of the mean cross-entropy, by layer, the weight's shape.

    The gradient is differentiated once more for every single weight, so this is for some thousand weights.

    Args:
        network: in evaluation mode here; stays as it is.
        inputs: normalised images [N, ...].
        targets: labels [N].
        paths: convolutions and linear layers; a weight in a form counts as the dense weight that it makes.
    """
    still = network.clone().eval()
    paths = tuple(paths)
    for path in paths:
        attach(still.layer(path), None, weight_of(still.layer(path)))
    weights = [weight_of(still.layer(path)) for path in paths]
    totals = [torch.zeros_like(weight).flatten() for weight in weights]
    for batch, labels in zip(inputs.split(_IMAGES), targets.split(_IMAGES), strict=True):
        with torch.enable_grad():
            outputs = still(batch)
            logits = outputs.flatten(2) if outputs.dim() > 2 else outputs[:, :, None]
            wanted = labels[:, None].expand(-1, logits.shape[2])
            loss = F.cross_entropy(logits, wanted) * (len(batch) / len(inputs))
            gradients = torch.autograd.grad(loss, weights, create_graph=True)
        for total, weight, gradient in zip(totals, weights, gradients, strict=True):
            for place, slope in enumerate(gradient.flatten()):
                (row,) = torch.autograd.grad(slope, weight, retain_graph=True, materialize_grads=True)
                total[place] += row.flatten()[place]
    return {
        path: total.reshape(weight.shape).detach() for path, total, weight in zip(paths, totals, weights, strict=True)
    }


def _per_image(layer: nn.Conv2d | nn.Linear, x: Tensor, g: Tensor) -> Tensor:
    """The derivative at the weight [N, *weight.shape] of each image's Σ g·layer(x)."""
    if isinstance(layer, nn.Linear):
        positions = (x.reshape(len(x), -1, x.shape[-1]), g.reshape(len(g), -1, g.shape[-1]))
        return torch.einsum("npi,npo->noi", *positions)
    assert not isinstance(layer.padding, str)
    patches = F.unfold(x, layer.kernel_size, layer.dilation, pair(layer.padding), layer.stride)
    groups = layer.groups
    patches = patches.reshape(len(x), groups, -1, patches.shape[-1])
    maps = g.reshape(len(g), groups, layer.out_channels // groups, -1)
    return torch.einsum("ngkp,ngop->ngok", patches, maps).reshape(len(x), *layer.weight.shape)

"""What the tests of tracing share: a model around one op, and the check that its network computes the same."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from camfit.network import Network
from camfit.trace import trace

Forward = Callable[[Tensor], Tensor]


class After(nn.Module):
    """A convolution to 4 channels of 6 x 6, and then whatever is to be traced."""

    def __init__(self, then: Forward) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.then = then

    def forward(self, x: Tensor) -> Tensor:
        return self.then(self.conv(x))


SHAPE = (1, 8, 8)


@torch.no_grad()
def traced(model: nn.Module, shape: tuple[int, ...] = SHAPE) -> Network:
    """The model's network, which computes the same on batches of 1 and 3."""
    network = trace(model, shape)
    model.eval()
    for batch in (1, 3):
        images = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(batch))
        assert torch.equal(network(images.clone()), model(images.clone()))
    return network


def kinds(network: Network) -> list[str]:
    """Types of the called layers in order."""
    return [type(network.get_submodule(node.layer)).__name__ for node in network.nodes]

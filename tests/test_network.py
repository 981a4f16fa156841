from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from camfit.errors import ModelError
from camfit.forms import Codebook, attach, stored_of
from camfit.network import INPUT, Network, Node
from camfit.storage import network_bytes, network_from_bytes
from camfit.trace import trace
from networks import inputs, plain, random_network, with_forms


class Awkward(nn.Module):
    """Its layers are called like the methods of a network."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU())
        self.values = nn.Linear(3 * 36, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.values(self.layers(x).flatten(1))
        return y


def test_layers_may_be_called_like_a_networks_methods() -> None:
    model = Awkward().eval()
    network = trace(model, (1, 8, 8))
    assert set(network.state_dict()) == set(model.state_dict())
    assert network.layer("layers.0") is dict(network.layers())["layers.0"]
    x = inputs(network, 0)
    assert torch.equal(network(x), model(x))
    assert torch.equal(network_from_bytes(network_bytes(network), "memory")(x), model(x))


def test_a_layer_inside_another_is_refused() -> None:
    layers: dict[str, nn.Module] = {"fc": nn.Linear(2, 2), "fc.relu": nn.ReLU()}
    with pytest.raises(ModelError, match=r"layer 'fc\.relu' lies inside layer 'fc'"):
        Network((Node("fc", "fc", (INPUT,)), Node("fc.relu", "fc.relu", ("fc",))), layers, (2,))


def test_shapes_run_in_the_networks_precision_and_keep_each_layers_mode() -> None:
    network = random_network(11).double().train()
    for _, layer in network.layers():
        layer.training = isinstance(layer, nn.ReLU)
    modes = [module.training for module in network.modules()]
    shapes = network.shapes()
    assert shapes[INPUT] == network.input_shape
    assert [module.training for module in network.modules()] == modes
    values = network.eval().values(inputs(network, 0, count=2))
    assert {name: tuple(value.shape[1:]) for name, value in values.items()} == shapes


def test_a_clones_weights_may_change_form_without_the_original_losing_its_own() -> None:
    network = Network((Node("fc", "fc", (INPUT,)),), {"fc": nn.Linear(3, 2)}, (3,))
    attach(network.layer("fc"), Codebook(torch.zeros(2, 3), 1), torch.ones(1))
    clone = network.clone()
    attach(clone.layer("fc"), None, torch.zeros(2, 3))
    assert torch.equal(network.layer("fc").weight, torch.ones(2, 3))
    assert torch.equal(clone.layer("fc").weight, torch.zeros(2, 3))
    assert torch.equal(stored_of(network.layer("fc")), torch.ones(1))


@pytest.mark.parametrize("seed", range(20))
def test_a_clone_computes_the_same_and_shares_nothing(seed: int) -> None:
    network = with_forms(random_network(seed), seed)
    clone = network.clone()
    x = inputs(network, seed)
    assert torch.equal(clone(x), network(x))
    with torch.no_grad():
        before = network_bytes(network)
        for parameter in clone.parameters():
            parameter.add_(1)
    assert network_bytes(network) == before


@pytest.mark.parametrize("seed", range(20))
def test_a_plain_module_is_traced_to_the_same_computation(seed: int) -> None:
    network = random_network(seed)
    traced = trace(plain(network), network.input_shape)
    x = inputs(network, seed)
    assert torch.equal(traced(x), network(x))
    assert len(traced.nodes) == len(network.nodes)

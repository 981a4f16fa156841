from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from camfit.data import Normalisation, to_tensor
from camfit.engine import Engine
from camfit.errors import ModelError
from camfit.forms import Codebook, Masked, attach
from camfit.network import INPUT, Add, Network, Node
from camfit.pack import CODERS, pack
from camfit.pack.read import read
from camfit.storage import network_bytes, network_from_bytes
from methods.chain import chain
from networks import Allowed, random_network, with_forms


def plain(network: Network) -> Normalisation:
    channels = network.input_shape[0]
    return Normalisation((1 / 64,) * channels, (-2.0,) * channels)


def section(data: bytes, number: int) -> bytes:
    """INFO, NODE, WGHT or BLOB."""
    offset, length = struct.unpack("<II", data[16 + 16 * number + 4 : 16 + 16 * number + 12])
    return data[offset : offset + length]


@pytest.mark.parametrize("seed", range(30))
def test_the_same_network_gives_the_same_bytes(seed: int) -> None:
    network = with_forms(random_network(seed, Allowed(binary=seed % 2 == 0)), seed)
    before = network_bytes(network)
    for coder, half in (("range", False), ("huffman", True), ("fast", False)):
        first = pack(network, plain(network), info={"b": 1, "a": [2]}, coder=coder, half=half)
        again = pack(
            network_from_bytes(before, "memory").train(),
            plain(network),
            info={"a": [2], "b": 1},
            coder=coder,
            half=half,
        )
        assert first.data == again.data and first.parts == again.parts and first.layers == again.layers
    assert network_bytes(network) == before


@pytest.mark.parametrize("seed", range(30))
def test_every_byte_is_accounted_for(seed: int) -> None:
    network = with_forms(random_network(seed, Allowed(binary=seed % 2 == 0)), seed)
    for half in (False, True):
        packed = pack(network, plain(network), half=half)
        assert sum(packed.parts.values()) == len(packed.data) and min(packed.parts.values()) >= 0
        # The layers' bytes are the BLOB section, all else is graph and header.
        blob = len(section(packed.data, 3))
        assert sum(packed.layers.values()) == blob == len(packed.data) - packed.parts["graph and header"]
        engine = Engine(packed.data)
        stored: dict[str, int] = {}
        for layer in engine.layers:
            stored[layer["name"].split("@")[0]] = stored.get(layer["name"].split("@")[0], 0) + layer["stored_bytes"]
        shared = {path for path in network.layer_paths() if len(network.calls(path)) > 1}
        for path, size in packed.layers.items():
            assert path in shared or stored[path] == size


def test_half_zeros_make_a_smaller_file() -> None:
    torch.manual_seed(0)
    network = chain((8, 8, 8), conv=nn.Conv2d(8, 32, 3), flatten=nn.Flatten(), fc=nn.Linear(32 * 36, 10))
    dense = len(pack(network, plain(network)).data)
    for path, layer in network.weighted().items():
        weight = network.state_dict()[f"{path}.weight"]
        attach(layer, Masked(weight.abs() >= weight.abs().median()), weight)
    assert len(pack(network, plain(network)).data) == pytest.approx(dense * (0.5 + 1 / 32), rel=0.02)


def test_a_shared_layer_is_stored_once() -> None:
    def twice(other: str) -> bytes:
        torch.manual_seed(0)
        layers: dict[str, nn.Module] = {"conv": nn.Conv2d(4, 4, 3, padding=1), "add": Add()}
        layers[other] = layers["conv"]
        nodes = (Node("a", "conv", (INPUT,)), Node("b", other, ("a",)), Node("c", "add", ("a", "b")))
        network = Network(nodes, layers, (4, 5, 5)).eval()
        return pack(network, plain(network)).data

    once, copied = twice("conv"), twice("other")
    weights = 4 * (4 * 4 * 9 + 4)
    assert (section(once, 2)[0], section(copied, 2)[0]) == (2, 4), "weight and bias, in the table's count"
    assert len(section(once, 3)) == weights and len(section(copied, 3)) == 2 * weights
    image = np.arange(100, dtype=np.uint8).reshape(5, 5, 4)
    np.testing.assert_array_equal(Engine(once).run(image), Engine(copied).run(image))


def test_two_norms_behind_one_shared_layer_share_its_weight_where_it_is_not_folded() -> None:
    """Masked: one weight, two scales, two biases. Dense: two folded weights and two biases."""
    torch.manual_seed(0)
    layers: dict[str, nn.Module] = {
        "conv": nn.Conv2d(1, 1, 3, padding=1),
        "one": nn.BatchNorm2d(1),
        "two": nn.BatchNorm2d(1),
    }
    layers["two"].bias.data.fill_(1.0)  # type: ignore[union-attr, operator]
    layers["two"].weight.data.fill_(2.0)  # type: ignore[union-attr, operator]
    nodes = (
        Node("a", "conv", (INPUT,)), Node("b", "one", ("a",)), Node("c", "conv", ("b",)), Node("d", "two", ("c",))
    )  # fmt: skip
    network = Network(nodes, layers, (1, 5, 5)).eval()
    dense = pack(network, plain(network)).data
    attach(layers["conv"], Masked(torch.ones(1, 1, 3, 3)), layers["conv"].weight.detach())  # type: ignore[operator, union-attr]
    masked = pack(network, plain(network)).data
    assert (section(dense, 2)[0], section(masked, 2)[0]) == (4, 5)
    assert (len(section(dense, 3)), len(section(masked, 3))) == (2 * 36 + 2 * 4, 36 + 4 * 4)
    image = np.arange(25, dtype=np.uint8).reshape(5, 5)
    np.testing.assert_allclose(Engine(dense).run(image), Engine(masked).run(image), rtol=1e-5, atol=1e-5)


def test_half_halves_biases_scales_and_centroids() -> None:
    torch.manual_seed(0)
    network = chain(
        (1, 6, 6), conv=nn.Conv2d(1, 6, 3), norm=nn.BatchNorm2d(6), flatten=nn.Flatten(), fc=nn.Linear(96, 5)
    )
    attach(network.layer("conv"), Codebook(torch.randint(-1, 16, (6, 1, 3, 3)), 16), torch.randn(16))
    whole, half = (pack(network, plain(network), half=half).parts for half in (False, True))
    assert whole["biases and scales"] == 4 * (6 + 6 + 5) == 2 * half["biases and scales"]
    assert half["codebooks"] < 0.75 * whole["codebooks"]
    assert half["values"] == whole["values"], "dense weights stay whole"


@pytest.mark.parametrize("ceil", [False, True])
def test_pools_that_hang_over_an_edge_run_as_in_torch(ceil: bool) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 7, 10, 2), dtype=np.uint8)
    for pool in (
        nn.MaxPool2d((3, 2), (2, 3), (1, 1), ceil_mode=ceil),
        nn.MaxPool2d((2, 3), (3, 2), (0, 1), ceil_mode=ceil),
        nn.AvgPool2d((2, 3), (2, 4), ceil_mode=ceil),
        nn.AvgPool2d((3, 3), (2, 2), (1, 0), ceil_mode=ceil, count_include_pad=False),
        nn.AvgPool2d((3, 3), (2, 3), (1, 1), ceil_mode=ceil, count_include_pad=not ceil),
    ):
        network = chain((2, 7, 10), pool=pool)
        expected = network(to_tensor(images, plain(network))).numpy().transpose(0, 2, 3, 1)
        np.testing.assert_allclose(
            Engine(pack(network, plain(network)).data).run(images), expected, rtol=1e-6, atol=1e-6
        )


def test_information_for_people_is_stored_as_it_is() -> None:
    network = chain((1, 2, 2), relu=nn.ReLU())
    info: dict[str, object] = {"model": "tëst", "classes": ["a", "b"], "numbers": {"x": 1.5}}
    assert Engine(pack(network, plain(network), info=info).data).info == info
    assert Engine(pack(network, plain(network)).data).info == {}


def test_it_is_saved_as_one_file(tmp_path: Path) -> None:
    network = chain((1, 2, 2), relu=nn.ReLU())
    packed = pack(network, plain(network))
    path = packed.save(tmp_path / "deep" / "m.camfit")
    assert path.read_bytes() == packed.data and [entry.name for entry in path.parent.iterdir()] == ["m.camfit"]


def version(data: bytes) -> int:
    return int(struct.unpack_from("<H", data, 8)[0])


def coder_of(data: bytes) -> int:
    return section(data, 3)[0] & 7


@pytest.mark.parametrize(("columns", "coder"), [(300, 1), (301, 2)])
def test_large_networks_get_the_fast_coder(columns: int, coder: int) -> None:
    """1,250 rows of 300 codes of 4 bits are 1,500,000 decisions; another column is too many."""
    layer = nn.Linear(columns, 1250)
    index = torch.randint(16, layer.weight.shape, generator=torch.Generator().manual_seed(0))
    attach(layer, Codebook(index, 16), torch.linspace(-1, 1, 16))
    network = chain((columns,), fc=layer)
    data = pack(network, plain(network)).data
    assert coder_of(data) == coder and version(data) == (2 if coder == 2 else 1)
    assert data == pack(network, plain(network), coder="range" if coder == 1 else "fast").data
    weight = read(data).ops[-1].weights[0]
    assert weight is not None and torch.equal(weight.values, layer.weight.detach())


def test_wrong_arguments_are_named() -> None:
    network = chain((1, 2, 2), relu=nn.ReLU())
    with pytest.raises(ModelError, match=f"coder 'zip': expected one of auto, {', '.join(CODERS)}"):
        pack(network, plain(network), coder="zip")
    with pytest.raises(ModelError, match="normalisation of 3 channels; the network's input has 1"):
        pack(network, Normalisation((1.0,) * 3, (0.0,) * 3))

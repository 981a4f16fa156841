from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from camfit.data import Normalisation
from camfit.errors import FileError
from camfit.network import Network
from camfit.pack import pack
from camfit.pack.encode import Payload, encode
from camfit.pack.lower import lower
from camfit.pack.read import Contents, read
from camfit.pack.write import file_bytes, node
from engine.writer import SPARSE, Net, Weight
from networks import Allowed, quantized, random_network, with_forms


def normalisation(network: Network) -> Normalisation:
    channels = network.input_shape[0]
    return Normalisation((1 / 64,) * channels, (-2.0,) * channels)


def packed_again(contents: Contents, coder: str, half: bool) -> bytes:
    """The file that the contents were read from, if nothing was lost; weights stand in the order of their first use."""
    places: dict[int, int] = {}
    payloads: list[Payload] = []
    nodes = []
    for op in contents.ops:
        references = []
        for weight in op.weights:
            if weight is not None and id(weight) not in places:
                places[id(weight)] = len(payloads)
                payloads.append(encode(weight, coder=coder, half=half))
            references.append(0 if weight is None else 1 + places[id(weight)])
        nodes.append(node(op.op, op.name, op.inputs, op.attributes, references))
    return file_bytes(contents.shapes[0], contents.scale, contents.shift, nodes, payloads, contents.info)


@pytest.mark.parametrize("seed", range(60))
def test_what_was_read_packs_to_the_same_bytes(seed: int) -> None:
    network = with_forms(random_network(seed, Allowed(binary=seed % 2 == 0)), seed)
    for coder, half in (("range", False), ("huffman", True), ("fast", False)):
        data = pack(network, normalisation(network), info={"model": "m"}, coder=coder, half=half).data
        contents = read(data)
        assert packed_again(contents, coder, half) == data
        assert contents.shapes[-1] == contents.engine.output_shape


@pytest.mark.parametrize("seed", range(20))
def test_integer_ops_come_back_with_their_integers(seed: int) -> None:
    network = quantized(random_network(seed), seed)
    contents = read(pack(network, normalisation(network)).data)
    assert contents.shapes[-1] == contents.engine.output_shape
    for found, op in zip(contents.ops, lower(network), strict=True):
        assert (found.op, found.inputs, found.attributes) == (op.op, op.inputs, op.attributes)
        for weight, expected in zip(found.weights, op.weights, strict=True):
            assert (weight is None) == (expected is None)
            assert weight is None or expected is None or torch.equal(weight.values, expected.values)


def test_a_file_is_read_by_its_path(tmp_path: Path) -> None:
    network = random_network(1)
    path = pack(network, normalisation(network), info={"classes": ["a"]}).save(tmp_path / "m.camfit")
    contents = read(path)
    assert contents.source == str(path) and contents.info == {"classes": ["a"]}
    assert (contents.scale, contents.shift) == (normalisation(network).scale, normalisation(network).shift)


def test_damage_is_found_before_anything_is_read() -> None:
    network = random_network(1)
    data = bytearray(pack(network, normalisation(network)).data)
    data[len(data) // 2] ^= 1
    with pytest.raises(FileError, match="packed network: .*checksum"):
        read(bytes(data))


def test_a_weight_that_cannot_be_decoded_is_named() -> None:
    net = Net((1, 1, 4))
    net.linear(Weight(SPARSE, (2, 4), b"\xff\0\0\0"))
    with pytest.raises(FileError, match="positions of 255 bytes"):
        read(net.encode())


def test_values_are_those_of_the_form() -> None:
    """A hashed and a codebook weight, dense after reading, against the network's own."""
    for seed in range(20):
        network = with_forms(random_network(seed, Allowed(shared=False)), seed, ("codebook", "hashed", "masked"))
        by_name = {op.name: op for op in read(pack(network, normalisation(network)).data).ops}
        for call in network.nodes:
            layer = network.weighted().get(call.layer)
            if layer is not None and (op := by_name.get(call.name)) and op.weights[0] is not None:
                np.testing.assert_array_equal(op.weights[0].values.numpy(), layer.weight.detach().numpy())

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
import torch
from torch import nn

from camfit.data import Normalisation
from camfit.pack import pack
from camfit.pack.write import OPS, node, varint, varints
from engine import writer
from methods.chain import chain


def test_varints() -> None:
    for value, data in ((0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (300, "ac02"), (2**32 - 1, "ffffffff0f")):
        assert varint(value).hex() == data
    assert varints([0, 300]).hex() == "00ac02"
    for value in (-1, 2**32):
        with pytest.raises(ValueError, match=f"varint of {value}"):
            varint(value)


def test_op_numbers_are_those_of_the_format() -> None:
    assert OPS == writer.OPS


def test_a_long_name_is_cut_between_characters() -> None:
    record = node("flatten", "ä" * 200, [0], [], [])
    length = record[1] & 0x7F | (record[2] & 0x7F) << 7
    assert length == 254 and record[3 : 3 + length].decode() == "ä" * 127
    assert node("flatten", "a" * 300, [0], [], [])[1:258] == varint(255) + b"a" * 255


def test_the_file_is_that_of_an_independent_writer() -> None:
    """The engine tests' writer knows the format from its document alone."""
    torch.manual_seed(0)
    network = chain(
        (2, 6, 5),
        conv=nn.Conv2d(2, 4, 3, (2, 1), (1, 0), groups=2),
        relu=nn.ReLU(),
        pool=nn.MaxPool2d(2, 1),
        flatten=nn.Flatten(),
        fc=nn.Linear(16, 3),
    )
    normalisation = Normalisation((0.5, 0.25), (-1.0, 2.0))
    net = writer.Net((6, 5, 2), normalisation.scale, normalisation.shift, b'{"classes":["\xc3\xa4"],"model":"m"}')

    def dense(name: str) -> writer.Weight:
        return writer.dense(network.state_dict()[name].numpy())

    weight, bias = dense("conv.weight"), dense("conv.bias")
    attributes = [4, 3, 3, 2, 1, 1, 0, 1, 0, 1, 1, 2, writer.RELU]
    net.add_node("conv2d", 0, attributes, (weight, None, bias), "conv")
    net.add_node("max_pool", None, [2, 2, 1, 1, 0, 0, 0, 0], (), "pool")
    net.add_node("flatten", name="flatten")
    net.add_node("linear", None, [3, 0], (dense("fc.weight"), None, dense("fc.bias")), "fc")
    assert pack(network, normalisation, info={"model": "m", "classes": ["ä"]}).data == net.encode()


def test_sections_follow_without_gaps_and_carry_their_checksums() -> None:
    data = pack(chain((3,), fc=nn.Linear(3, 2)), Normalisation((1.0,) * 3, (0.0,) * 3)).data
    assert data[:8] == b"\x89camfit\n" and struct.unpack("<HHI", data[8:16]) == (1, 4, len(data))
    place = 84
    for number, tag in enumerate((b"INFO", b"NODE", b"WGHT", b"BLOB")):
        entry = data[16 + 16 * number : 32 + 16 * number]
        offset, length, checksum = struct.unpack("<III", entry[4:])
        assert entry[:4] == tag and offset == place
        assert zlib.crc32(data[offset : offset + length]) == checksum
        place += length
    assert place == len(data)
    assert struct.unpack("<I", data[80:84]) == (zlib.crc32(data[:80]),)
    assert np.frombuffer(data[-8:], "<f4").shape == (2,)

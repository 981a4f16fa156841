"""The reader refuses whatever is not a well-formed file, and says why."""

import struct
import zlib

import numpy as np
import pytest

from camfit import _native
from engine.run import outputs, refusal
from engine.test_forms import codebook, sparse
from engine.writer import (
    CODEBOOK,
    DENSE,
    HALF,
    HASHED,
    HEADER_SIZE,
    OPS,
    SIGN,
    SPARSE,
    Net,
    Weight,
    assemble,
    dense,
    half,
    hashed,
    sign,
    varint,
)

IMAGE = np.arange(4 * 4 * 2, dtype=np.uint8).reshape(4, 4, 2)
ONES = dense(np.ones((3, 2, 1, 1), np.float32))


def small_net() -> Net:
    """Every form and most ops in a file of some hundred bytes."""
    rng = np.random.default_rng(0)
    net = Net((4, 4, 2), scale=[0.1, 0.2], shift=[-1.0, 0.5], info=b'{"model": "small"}')
    index = np.array([[0, 1], [-1, 1], [1, -1]], np.int32).reshape(3, 2, 1, 1)
    net.conv2d(codebook(index, np.array([0.5, -0.25])), bias=half(rng.normal(size=3)))
    net.conv2d(hashed((2, 3, 1, 1), 1, rng.normal(size=4)), activation=1)
    net.conv2d(sign(rng.random(2), rng.normal(size=(2, 2, 2, 2))), scale_input=True, pad=(0, 0, 1, 1))
    net.pool("max_pool", (2, 2), stride=(2, 2))
    net.add_node("channel_shuffle", attributes=[2])
    net.add_node("flatten")
    net.linear(sparse(np.array([[0, 0, 1.5, 0, 0, -2, 0, 0], [1, 0, 0, 0, 0, 0, 0, 3]], np.float32)))
    net.linear(dense(rng.normal(size=(2, 2))))
    net.add_node("softmax")
    return net


def test_a_file_cut_at_any_byte_is_refused() -> None:
    data = small_net().encode()
    assert len(data) < 800
    for size in range(len(data)):
        assert refusal(data[:size]).startswith("FileMalformed: header: ")


def test_a_file_with_a_byte_too_many_is_refused() -> None:
    assert "should be" in refusal(small_net().encode() + b"\0")


def test_a_file_with_any_byte_changed_is_refused() -> None:
    data = small_net().encode()
    for position in range(len(data)):
        for change in 1, 0x80, 0xFF:
            damaged = bytearray(data)
            damaged[position] ^= change
            assert refusal(bytes(damaged))


def test_changed_bytes_under_correct_checksums_never_crash() -> None:
    """Past the checksums, the reader itself must hold: every byte of every section takes several wrong values."""
    data = small_net().encode()
    bounds = [struct.unpack_from("<II", data, 16 + 16 * i + 4) for i in range(4)]
    sections = [data[offset : offset + length] for offset, length in bounds]
    loaded = 0
    for number in (1, 2, 3):
        for position in range(len(sections[number])):
            for value in 0, 1, 2, 127, 128, 255, sections[number][position] ^ 16:
                changed = [bytearray(section) for section in sections]
                changed[number][position] = value
                file = assemble(*map(bytes, changed))
                try:
                    engine = _native.Engine(file)
                except (_native.FileMalformed, _native.FileUnsupported, _native.OutOfMemory) as error:
                    assert str(error).split(":")[0] in {"NODE", "WGHT", "BLOB"}
                    continue
                loaded += 1
                height, width, channels = engine.input_shape
                if height * width * channels < 100_000:
                    engine.run(np.zeros((height, width, channels), np.uint8))
    assert loaded > 100  # a changed name, normalisation or weight is a different network, not a broken one


def test_sections_cut_short_under_correct_checksums_are_refused() -> None:
    data = small_net().encode()
    bounds = [struct.unpack_from("<II", data, 16 + 16 * i + 4) for i in range(4)]
    for number in (1, 2, 3):
        sections = [data[offset : offset + length] for offset, length in bounds]
        whole = sections[number]
        for size in range(len(whole)):
            sections[number] = whole[:size]
            assert refusal(assemble(*sections)).startswith("FileMalformed: ")
        sections[number] = whole + b"\0"
        assert refusal(assemble(*sections)).startswith("FileMalformed: ")


def reheaded(data: bytes) -> bytes:
    return data[: HEADER_SIZE - 4] + struct.pack("<I", zlib.crc32(data[: HEADER_SIZE - 4])) + data[HEADER_SIZE:]


def patched(position: int, replacement: bytes) -> bytes:
    data = small_net().encode()
    return reheaded(data[:position] + replacement + data[position + len(replacement) :])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "FileMalformed: header: not a .camfit file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "FileMalformed: header: not a .camfit file"),
        (patched(8, b"\4\0"), "FileUnsupported: header: format version 4, this engine reads 1 to 3"),
        (patched(8, b"\0\0"), "FileUnsupported: header: format version 0, this engine reads 1 to 3"),
        (patched(10, b"\5\0"), "FileMalformed: header: 5 sections, expected 4"),
        (patched(16, b"NODE"), "FileMalformed: header: section 0 is not INFO"),
        (patched(20, b"\x55"), "FileMalformed: header: section INFO begins at byte 85, expected 84"),
        (
            patched(24, b"\xff\xff\xff\xff"),
            "FileMalformed: header: section INFO of 4294967295 bytes at byte 84 reaches",
        ),
        (patched(28, b"\0\0\0\0"), "FileMalformed: INFO: checksum mismatch"),
        (Net((1, 1, 1), info=b"\xff").encode(), "FileMalformed: INFO: not valid UTF-8"),
        (Net((1, 1, 1)).encode(), "FileMalformed: NODE: no nodes, expected at least one"),
    ],
)
def test_headers(data: bytes, message: str) -> None:
    assert refusal(data).startswith(message)


def net_of(*nodes: tuple, shape: tuple[int, int, int] = (4, 4, 2), **normalisation: list[float]) -> bytes:
    """Nodes as (op, inputs, attributes, weights), named a, b, c, ..."""
    net = Net(shape, **normalisation)
    for name, (op, inputs, attributes, weights) in zip("abcdefgh", nodes, strict=False):
        net.add_node(op, inputs, attributes, weights, name)
    return net.encode()


def conv(weight: Weight | None, bias: Weight | None = None, op: str = "conv2d", **changed: int) -> tuple:
    strides, pads = ["stride_h", "stride_w"], ["top", "left", "bottom", "right"]
    last = ["dilation_h", "dilation_w", "groups", "activation", "scale_input"]
    names = ["cout", "kh", "kw", *strides, *pads, *last]
    values = dict.fromkeys(names, 1) | dict.fromkeys([*pads, "activation", "scale_input"], 0)
    values |= {"cout": 3} | changed
    count = 14 if op == "binary_conv2d" else 13
    return op, 0, list(values.values())[:count], (weight, None, bias)


def pool(op: str = "max_pool", **changed: int) -> tuple:
    names = ["kh", "kw", "stride_h", "stride_w", "top", "left", "bottom", "right", "count"]
    values = {"kh": 2, "kw": 2, "stride_h": 2, "stride_w": 2} | dict.fromkeys(names[4:], 0) | changed
    return op, 0, [values[name] for name in names[: 9 if op == "avg_pool" else 8]], ()


def linear(
    weight: Weight | None, cout: int, inputs: int = 0, scale: Weight | None = None, activation: int = 0
) -> tuple:
    return "linear", inputs, [cout, activation], (weight, scale, None)


F32 = np.float32
VECTOR = {"shape": (1, 1, 2)}
SIGNS = sign(np.ones(3, F32), np.ones((3, 2, 1, 1)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (net_of(("softmax", 0, [], ()), shape=(0, 1, 1)), "NODE: input of 0 x 1 x 1, expected at least"),
        (
            net_of(("softmax", 0, [], ()), scale=[1.0, float("nan")]),
            "NODE: the normalisation of channel 1 is not finite",
        ),
        (
            net_of(("softmax", 0, [], ()), shift=[float("inf"), 0.0]),
            "NODE: the normalisation of channel 0 is not finite",
        ),
        (net_of(pool(), ("add", [1, 3], [0], ())), "NODE: node 1 'b' reads value 3 but only 2 exist"),
        (net_of(("add", [0], [0], ())), "NODE: node 0 'a' (add) has 1 inputs, expected 2"),
        (net_of(("concat", [], [], ())), "NODE: node 0 'a' (concat) has 0 inputs, expected 1 to 255"),
        (net_of(("softmax", [0, 0], [], ())), "NODE: node 0 'a' (softmax) has 2 inputs, expected 1"),
        (net_of(pool(), ("add", [0, 1], [0], ())), "NODE: node 1 'b' (add): adds 4 x 4 x 2 and 2 x 2 x 2"),
        (
            net_of(pool(), ("concat", [0, 1], [], ())),
            "NODE: node 1 'b' (concat): input 1 is 2 x 2, the first one 4 x 4",
        ),
        (
            net_of(("softmax", 0, [], ())),
            "NODE: node 0 'a' (softmax): its input is an image of 4 x 4 x 2, expected a vector",
        ),
        (
            net_of(linear(dense(np.ones((1, 32), F32)), 1)),
            "NODE: node 0 'a' (linear): its input is an image of 4 x 4 x 2",
        ),
        (net_of(linear(None, 1), **VECTOR), "NODE: node 0 'a' (linear): it has no weight"),
        (net_of(linear(dense(np.ones((1, 2), F32)), 0), **VECTOR), "NODE: node 0 'a' (linear): no outputs"),
        (net_of(linear(ONES, 3), **VECTOR), "NODE: node 0 'a' (linear): its weight has rank 4, expected 2"),
        (
            net_of(linear(dense(np.ones((2, 3), F32)), 2), **VECTOR),
            "NODE: node 0 'a' (linear): its weight is [2, 3], expected [2, 2]",
        ),
        (
            net_of(linear(dense(np.ones((2, 2), F32)), 2, scale=dense(np.ones(3, F32))), **VECTOR),
            "NODE: node 0 'a' (linear): its scale has 3 values, expected 2",
        ),
        (
            net_of(linear(dense(np.ones((2, 2), F32)), 2, scale=dense(np.ones((2, 1), F32))), **VECTOR),
            "NODE: node 0 'a' (linear): its scale has rank 2, expected 1",
        ),
        (net_of(conv(ONES, cout=0)), "NODE: node 0 'a' (conv2d): no output channels"),
        (net_of(conv(ONES, groups=0)), "NODE: node 0 'a' (conv2d): 0 groups do not divide 2 input and 3 output"),
        (net_of(conv(ONES, groups=2)), "NODE: node 0 'a' (conv2d): 2 groups do not divide 2 input and 3 output"),
        (net_of(conv(ONES, stride_h=0)), "NODE: node 0 'a' (conv2d): stride height is 0"),
        (net_of(conv(ONES, kw=0)), "NODE: node 0 'a' (conv2d): kernel width is 0"),
        (
            net_of(conv(ONES, kh=5)),
            "NODE: node 0 'a' (conv2d): a window height of 5 on an input of 4, padding included",
        ),
        (net_of(conv(ONES, kw=2, dilation_w=5)), "NODE: node 0 'a' (conv2d): a window width of 6 on an input of 4"),
        (net_of(conv(ONES, kh=2)), "NODE: node 0 'a' (conv2d): its weight is [3, 2, 1, 1], expected [3, 2, 2, 1]"),
        (net_of(conv(ONES, half(np.ones(2)))), "NODE: node 0 'a' (conv2d): its bias has 2 values, expected 3"),
        (
            net_of(conv(ONES, op="binary_conv2d")),
            "NODE: node 0 'a' (binary_conv2d): its weight has form dense, expected",
        ),
        (net_of(conv(SIGNS, op="binary_conv2d", scale_input=2)), "NODE: node 0 'a' (binary_conv2d): scale_input is 2"),
        (net_of(pool(top=2)), "NODE: node 0 'a' (max_pool): a window lies wholly in the padding"),
        (net_of(pool(right=2)), "NODE: node 0 'a' (max_pool): a window lies wholly in the padding"),
        (
            net_of(("channel_shuffle", 0, [0], ())),
            "NODE: node 0 'a' (channel_shuffle): 0 groups do not divide 2 channels",
        ),
        (
            net_of(("channel_shuffle", 0, [3], ())),
            "NODE: node 0 'a' (channel_shuffle): 3 groups do not divide 2 channels",
        ),
        (
            net_of(("channel_shuffle", 0, [2**32 - 1], ())),
            "NODE: node 0 'a' (channel_shuffle): 4294967295 groups do not divide 2 channels",
        ),
        (
            net_of(("depth_to_space", 0, [2, 2, 0, 0, 0, 0], ())),
            "NODE: node 0 'a' (depth_to_space): blocks of 2 x 2 do not divide 2 channels",
        ),
        (
            net_of(("depth_to_space", 0, [0, 1, 0, 0, 0, 0], ())),
            "NODE: node 0 'a' (depth_to_space): blocks of 0 x 1 do not divide 2 channels",
        ),
        (
            net_of(("depth_to_space", 0, [2**31, 2**31, 0, 0, 0, 0], ())),
            "NODE: node 0 'a' (depth_to_space): blocks of 2147483648 x 2147483648 do not divide 2 channels",
        ),
        (
            net_of(("depth_to_space", 0, [2, 1, 2**32 - 1, 0, 2**32 - 1, 0], ())),
            "NODE: node 0 'a' (depth_to_space): it crops 8589934590 x 0 of 8 x 4",
        ),
        (
            net_of(("depth_to_space", 0, [1, 2, 0, 4, 0, 4], ())),
            "NODE: node 0 'a' (depth_to_space): it crops 0 x 8 of 4 x 8",
        ),
        (net_of(("slice", 0, [1, 0], ())), "NODE: node 0 'a' (slice): channels 1 to 1 of 2"),
        (net_of(("slice", 0, [1, 2], ())), "NODE: node 0 'a' (slice): channels 1 to 3 of 2"),
        (net_of(("slice", 0, [2**32 - 1, 1], ())), "NODE: node 0 'a' (slice): channels 4294967295 to 4294967296 of 2"),
        (net_of(pool("avg_pool", count=7)), "NODE: node 0 'a' (avg_pool): count_include_pad is 7, expected 0 or 1"),
    ],
)
def test_malformed_nodes(data: bytes, message: str) -> None:
    assert refusal(data).startswith(f"FileMalformed: {message}")


BIG = 2**32 - 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (net_of(conv(ONES, activation=3)), "NODE: node 0 'a' (conv2d): unknown activation 3"),
        (net_of(("activation", 0, [0], ())), "NODE: node 0 'a' (activation): unknown activation 0"),
        (
            net_of(conv(sign(np.ones(2, F32), np.ones((2, 1, 1, 1))), op="binary_conv2d", groups=2, cout=2)),
            "NODE: node 0 'a' (binary_conv2d): 2 groups",
        ),
        (net_of(conv(ONES, top=BIG)), "NODE: node 0 'a' (conv2d): padding top is 4294967295, at most"),
        (net_of(conv(ONES, top=2**20, bottom=2**20)), "NODE: node 0 'a' (conv2d): output of 2097156 x 4 x 3 is larger"),
        (net_of(conv(ONES, cout=BIG)), "NODE: node 0 'a' (conv2d): output of 4 x 4 x 4294967295 is larger"),
        (net_of(("flatten", 0, [], ()), shape=(2**20, 2**20, 1)), "NODE: input of 1048576 x 1048576 x 1 is larger"),
        (net_of(("flatten", 0, [], ()), shape=(2**21, 1, 1)), "NODE: input of 2097152 x 1 x 1 is larger"),
        (
            net_of(("depth_to_space", 0, [2, 1, 0, 0, 0, 0], ()), shape=(2**20, 1, 2)),
            "NODE: node 0 'a' (depth_to_space): an image of 2097152 x 1 is larger",
        ),
    ],
)
def test_unsupported_nodes(data: bytes, message: str) -> None:
    assert refusal(data).startswith(f"FileUnsupported: {message}")


def test_unknown_op_form_and_reference() -> None:
    nodes = varint(1) * 3 + struct.pack("<ff", 1, 0) + varint(1)
    table = varint(0)
    assert "NODE: node 0 has unknown op 23" in refusal(assemble(b"", nodes + b"\x17\0\1\0", table, b""))
    assert "NODE: node 0 has unknown op 0" in refusal(assemble(b"", nodes + b"\0\0\1\0", table, b""))
    one = varint(1) + bytes([9, 1, 1, 0])
    assert refusal(assemble(b"", nodes, one, b"")) == "FileUnsupported: WGHT: weight 0 has unknown form 9"
    reference = nodes + bytes([OPS["linear"], 1]) + b"x" + bytes([1, 0, 1, 0, 6, 0, 0])
    assert refusal(assemble(b"", reference, table, b"")) == (
        "FileMalformed: NODE: node 0 'x' refers to weight 5 but only 0 exist"
    )


@pytest.mark.parametrize(
    "name", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"a\nb", b"a\0b", b"\xe2\x82"]
)
def test_names_are_utf8_without_control_characters(name: bytes) -> None:
    nodes = varint(1) * 3 + struct.pack("<ff", 1, 0) + varint(1) + bytes([OPS["flatten"], len(name)]) + name + b"\1\0"
    assert "its name is not UTF-8 without control characters" in refusal(assemble(b"", nodes, varint(0), b""))


def test_long_names_are_cut_between_characters() -> None:
    net = Net((1, 1, 1))
    net.add_node("softmax", [0, 0], name="€" * 85)
    assert refusal(net.encode()) == f"FileMalformed: NODE: node 0 '{'€' * 16}' (softmax) has 2 inputs, expected 1"


@pytest.mark.parametrize("number", [b"\x80\x80\x80\x80\x10", b"\xff\xff\xff\xff\xff\x01", b"\x81\x00", b"\x80"])
def test_numbers_have_at_most_32_bits_and_their_shortest_form(number: bytes) -> None:
    assert refusal(assemble(b"", b"", number, b"")).startswith("FileMalformed: WGHT: byte ")


def table_of(*weights: Weight, used: Weight | None = None) -> bytes:
    """A file whose weight table holds the given weights; a network that uses `used` on an input of one pixel."""
    net = Net((1, 1, 2))
    if used is not None:
        net.linear(used)
    else:
        net.add_node("flatten")
    return assemble(
        b"",
        net.node_section([]),
        varint(len(weights)) + b"".join(weight.entry() for weight in weights),
        b"".join(weight.payload for weight in weights),
    )


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (Weight(DENSE, (2, 3, 4), bytes(96)), "FileMalformed: WGHT: weight 0 has rank 3, expected 1, 2 or 4"),
        (Weight(DENSE, (2, 0), b""), "FileMalformed: WGHT: weight 0 has a dimension of 0"),
        (
            Weight(DENSE, (2, 3), bytes(23)),
            "FileMalformed: WGHT: weight 0 of form dense has a payload of 23 bytes, expected 24",
        ),
        (
            Weight(HALF, (2,), bytes(5)),
            "FileMalformed: WGHT: weight 0 of form half has a payload of 5 bytes, expected 4",
        ),
        (Weight(HALF, (2, 2), bytes(8)), "FileMalformed: WGHT: weight 0 of form half has rank 2, expected 1"),
        (Weight(SIGN, (2,), bytes(9)), "FileMalformed: WGHT: weight 0 of form sign has rank 1, expected 2 or 4"),
        (
            Weight(SIGN, (2, 5), bytes(9)),
            "FileMalformed: WGHT: weight 0 of form sign has a payload of 9 bytes, expected 10",
        ),
        (Weight(HASHED, (2, 5), bytes(7)), "FileMalformed: BLOB: weight 0 of form hashed has a payload of 7 bytes"),
        (Weight(HASHED, (2, 5), bytes(8)), "FileMalformed: BLOB: weight 0 of form hashed has no buckets"),
        (
            Weight(HASHED, (2, 5), struct.pack("<II", 0, 2) + bytes(4)),
            "FileMalformed: BLOB: weight 0 of form hashed has 2 buckets in a payload of 12 bytes, expected 16",
        ),
        (Weight(HASHED, (2**16, 2**16), bytes(8)), "FileUnsupported: WGHT: weight 0 has more than 1073741824 elements"),
        (
            Weight(CODEBOOK, (BIG, BIG, BIG, BIG), b""),
            "FileUnsupported: WGHT: weight 0 has more than 1073741824 elements",
        ),
    ],
)
def test_weight_table(weight: Weight, message: str) -> None:
    assert refusal(table_of(weight)).startswith(message)


def test_payloads_fill_the_blob() -> None:
    net = Net((1, 1, 1))
    net.add_node("flatten")
    nodes, entry = net.node_section([]), dense(np.ones(2, F32)).entry()
    assert "payload ends at byte 8 of BLOB, which has 7" in refusal(assemble(b"", nodes, varint(1) + entry, bytes(7)))
    assert refusal(assemble(b"", nodes, varint(1) + entry, bytes(9))) == (
        "FileMalformed: BLOB: 9 bytes, but the payloads take 8"
    )


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (dense(np.array([[1, NAN]], F32)), "a weight is not finite"),
        (hashed((1, 2), 0, np.array([1, INF])), "a bucket is not finite"),
        (sign(np.array([-INF]), np.ones((1, 2))), "a scale of a sign is not finite"),
        (sparse(np.array([[1, NAN]], F32)), "a weight is not finite"),
        (codebook(np.array([[0, 1]], np.int32), np.array([1, INF])), "a codebook value is not finite"),
    ],
)
def test_weights_are_finite(weight: Weight, message: str) -> None:
    assert refusal(table_of(weight, used=weight)) == f"FileMalformed: BLOB: weights of node 0 'linear0': {message}"


def test_coder_2_came_with_version_2() -> None:
    net = Net((1, 1, 2), version=2)
    net.linear(codebook(np.array([[0, 1], [1, 0]], np.int32), np.array([1, 2], F32), "fast writer"))
    _native.Engine(net.encode())
    net.version = 1
    assert refusal(net.encode()) == ("FileMalformed: BLOB: weight 0 has coder 2, which a file of version 1 cannot have")
    positions, _ = _native.encode_codebook(np.where(np.eye(300) > 0, 0, -1).astype(np.int32), np.ones(1, F32), "fast")
    weight = Weight(SPARSE, (300, 300), struct.pack("<I", len(positions)) + positions + bytes(4 * 300))
    assert "weight 0 has coder 2" in refusal(table_of(weight))


def test_spare_bits_of_signs_are_zero() -> None:
    weight = sign(np.ones(1, F32), np.ones((1, 2)))
    weight.payload = weight.payload[:-1] + b"\x07"
    assert refusal(table_of(weight, used=weight)).endswith("the bits after the last sign are not 0")


def test_sparse_payloads_agree_with_their_positions() -> None:
    good = sparse(np.array([[1, 0], [0, 2]], F32))
    short = Weight(SPARSE, (2, 2), good.payload[:-4])
    assert refusal(table_of(short, used=short)).endswith("4 bytes of values, expected 8")
    none = Weight(SPARSE, (2, 2), b"\1")
    assert refusal(table_of(none, used=none)).endswith("positions of 0 bytes in a payload of 1")
    two, _ = _native.encode_codebook(np.array([[0, 1], [1, 0]], np.int32), np.array([1, 2], F32))
    other = Weight(SPARSE, (2, 2), struct.pack("<I", len(two)) + two + bytes(16))
    assert "another codebook than the one value 1" in refusal(table_of(other, used=other))


def test_what_would_take_too_much_memory_is_refused() -> None:
    """A file of some hundred bytes that asks for 4 GiB of weights, activations, or work."""
    huge = Weight(CODEBOOK, (2**15, 2**15), b"\x60\1" + struct.pack("<f", 1))  # one value, no bits of code
    net = Net((1, 1, 2**15))
    net.linear(huge)
    assert refusal(net.encode()).startswith("OutOfMemory: BLOB: weights of node 0 'linear0': 2147483648 bytes wanted, 2147")
    net = Net((2**15, 2**14, 1))
    net.pool("max_pool", (1, 1))
    net.pool("max_pool", (1, 1))
    assert refusal(net.encode()).startswith("OutOfMemory: the activations: 4294967360 bytes wanted")
    net = Net((2**10, 2**10, 1))
    net.pool("max_pool", (2**11, 2**11), pad=(2**11 - 1, 2**11 - 1, 1, 1))
    assert "multiply-accumulates, at most 4398046511104" in refusal(net.encode())


def test_more_nodes_than_any_network_has_are_refused() -> None:
    nodes = varint(1) * 3 + struct.pack("<ff", 1, 0) + varint(16385)
    assert refusal(assemble(b"", nodes, varint(0), b"")) == "FileUnsupported: NODE: 16385 nodes, at most 16384"
    assert refusal(assemble(b"", nodes[:-3] + varint(16384), varint(0), b"")).endswith("NODE: 16384 nodes in 0 bytes")


def test_the_largest_number_of_nodes_loads() -> None:
    net = Net((1, 1, 1))
    for _ in range(16384):
        net.add_node("activation", attributes=[1], name="")
    assert outputs(net, np.ones((1, 1, 1), np.float32)) == 1


def test_one_hash_came_with_version_3() -> None:
    net = Net((1, 1, 2), version=3)
    net.linear(hashed((2, 2), 1, np.ones(3, np.float32), one_hash=True))
    _native.Engine(net.encode())
    net.version = 2
    assert refusal(net.encode()) == (
        "FileMalformed: BLOB: weight 0 is hashed once, which a file of version 2 cannot have"
    )

"""The Python hand on the engine. What it computes is compared with torch in contract/test_engine_agrees.py."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from camfit.data import Normalisation
from camfit.engine import Engine
from camfit.errors import FileError
from camfit.network import Network
from camfit.pack import pack
from methods.chain import chain

INFO = {"model": "tëst", "classes": ["a", "b"]}


def packed(network: Network, info: dict[str, object] | None = None) -> bytes:
    channels = network.input_shape[0]
    return pack(network, Normalisation((1.0,) * channels, (0.0,) * channels), info=info).data


def sums(channels: int = 1) -> Engine:
    """Images of 2 x 3 pixels; the outputs are the sum of all values and its negative."""
    layer = nn.Linear(6 * channels, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, -1.0])[:, None].expand(2, 6 * channels))
    return Engine(packed(chain((channels, 2, 3), flatten=nn.Flatten(), fc=layer), dict(INFO)))


def test_one_image_or_a_batch_of_bytes_or_floats() -> None:
    engine = sums(channels=3)
    images = np.random.default_rng(0).integers(0, 256, (4, 2, 3, 3), dtype=np.uint8)
    expected = images.reshape(4, -1).sum(1, dtype=np.float32)
    for batch in (
        images,
        images.astype(np.float32),
        images.astype(np.float64),
        images.astype(np.int64),
        images.tolist(),
    ):
        assert engine.run(batch).tolist() == [[s, -s] for s in expected]  # type: ignore[arg-type]
    assert engine.run(images[1]).tolist() == [expected[1], -expected[1]]
    assert engine.run(images[:1]).shape == (1, 2)
    assert engine.run(images[:, :, ::-1]).tolist() == engine.run(images).tolist()


def test_floats_are_not_rounded_to_bytes() -> None:
    assert sums().run(np.full((2, 3, 1), 0.25)).tolist() == [1.5, -1.5]


def test_grey_images_may_come_without_their_channel() -> None:
    engine = sums()
    grey = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert engine.run(grey).tolist() == engine.run(grey[..., None]).tolist() == [[15, -15], [51, -51]]
    assert engine.run(grey[1]).tolist() == [51, -51]


def test_images_come_out_with_height_width_and_channels() -> None:
    layer = nn.Conv2d(1, 2, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, 10.0]).reshape(2, 1, 1, 1))
    engine = Engine(packed(chain((1, 2, 3), conv=layer)))
    image = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert engine.output_shape == (2, 3, 2)
    np.testing.assert_array_equal(engine.run(image), np.stack([image, 10 * image], -1))
    assert engine.run(image[None]).shape == (1, 2, 3, 2)


def test_it_tells_what_it_holds(tmp_path: Path) -> None:
    engine = sums()
    assert (engine.input_shape, engine.output_shape, engine.info) == ((2, 3, 1), (1, 1, 2), INFO)
    assert engine.isa in ("plain", "avx2", "avx512", "neon")
    assert [(layer["name"], layer["op"], layer["form"]) for layer in engine.layers] == [
        ("flatten", "flatten", ""), ("fc", "linear", "dense")
    ]  # fmt: skip
    data = packed(chain((1, 2, 3), relu=nn.ReLU()))
    (tmp_path / "m.camfit").write_bytes(data)
    assert Engine(tmp_path / "m.camfit").bytes == Engine(str(tmp_path / "m.camfit")).bytes == len(data)
    memory = engine.memory
    assert memory["total_bytes"] >= memory["weights_bytes"] + memory["arena_bytes"] + memory["scratch_bytes"] > 0


def test_memory_mode_holds_a_compressed_weight_in_fewer_bytes() -> None:
    from camfit.forms import Sign, attach

    layer = nn.Linear(6, 500, bias=False)
    attach(layer, Sign(), torch.randn(500, 6))
    data = packed(chain((1, 2, 3), flatten=nn.Flatten(), fc=layer))
    assert Engine(data, mode="memory").memory["weights_bytes"] < Engine(data, mode="speed").memory["weights_bytes"]


def test_neither_mode_holds_the_matrix_of_a_hashed_layer() -> None:
    from camfit.forms import Hashed, attach

    layer = nn.Linear(6, 500, bias=False)
    attach(layer, Hashed((500, 6), 20, 1), torch.randn(20))
    data = packed(chain((1, 2, 3), flatten=nn.Flatten(), fc=layer))
    for mode in "memory", "speed":
        assert Engine(data, mode=mode).memory["weights_bytes"] < 500 * 6


@pytest.mark.parametrize("shape", [(3, 2), (2, 4), (2, 3, 3), (4, 3, 2, 1), (0, 2, 3, 1), (1, 1, 2, 3, 1), (6,), ()])
def test_images_of_another_shape_are_named(shape: tuple[int, ...]) -> None:
    images = np.zeros(shape, np.uint8)
    text = str(list(shape)).replace("[", r"\[").replace("]", r"\]")
    with pytest.raises(FileError, match=rf"packed network: images of shape {text}; expected \[2, 3, 1\] or a batch"):
        sums().run(images)


def test_times_are_those_of_single_runs() -> None:
    engine = sums()
    times = engine.time(np.zeros((2, 3), np.uint8), 7)
    assert times.shape == (7,) and bool((times > 0).all())
    with pytest.raises(FileError, match=r"an image of shape \[3, 3\]; expected \[2, 3, 1\]"):
        engine.time(np.zeros((3, 3)), 1)


def test_a_profile_has_a_time_for_every_layer_and_is_off_afterwards() -> None:
    engine = sums()
    profile = engine.profile(np.zeros((2, 3), np.uint8), runs=5)
    assert len(profile) == len(engine.layers) == 2
    assert all(0 <= ms < 1000 for ms in profile) and sum(profile) > 0
    before = [layer["ns"] for layer in engine.layers]
    for _ in range(5):
        engine.run(np.ones((2, 3), np.uint8))
    assert [layer["ns"] for layer in engine.layers] == before
    with pytest.raises(FileError):
        engine.profile(np.zeros((9, 9)))


def test_threads_may_share_one_engine() -> None:
    engine = sums()
    images = np.random.default_rng(0).integers(0, 256, (50, 2, 3), dtype=np.uint8)
    expected, found = engine.run(images), {}

    def work(number: int) -> None:
        found[number] = [engine.run(image) for image in images]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0, 1, 2, 3]
    for outputs in found.values():
        np.testing.assert_array_equal(outputs, expected)


def test_bad_files_and_settings_are_named(tmp_path: Path) -> None:
    data = packed(chain((1, 2, 3), relu=nn.ReLU()))
    with pytest.raises(FileError, match="missing.camfit: cannot be read: No such file"):
        Engine(tmp_path / "missing.camfit")
    (tmp_path / "cut.camfit").write_bytes(data[:-1])
    with pytest.raises(FileError, match="cut.camfit: .+"):
        Engine(tmp_path / "cut.camfit")
    with pytest.raises(FileError, match=r"packed network: .*not a .camfit file"):
        Engine(b"PK\x03\x04")
    with pytest.raises(FileError, match="threads: expected 1 or more"):
        Engine(data, threads=0)
    with pytest.raises(FileError, match="mode: 'fast', expected 'speed' or 'memory'"):
        Engine(data, mode="fast")  # type: ignore[arg-type]
    with pytest.raises(FileError, match="isa: 'sse'"):
        Engine(data, isa="sse")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "message"), [(b"{", "INFO is not JSON"), (b"[]", "INFO holds list, expected an object")]
)
def test_an_info_section_that_is_no_object_is_named(text: bytes, message: str) -> None:
    from engine.writer import Net

    net = Net((1, 1, 2), info=text)
    net.add_node("softmax")
    with pytest.raises(FileError, match=f"packed network: {message}"):
        _ = Engine(net.encode()).info

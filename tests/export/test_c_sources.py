"""Exported C computes what the engine's plain kernels compute, to the last bit, and is what it says it is."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from camfit import zoo
from camfit.data import Normalisation
from camfit.engine import Engine
from camfit.errors import ExportError, FileError
from camfit.export import export_c
from camfit.forms import Codebook, attach
from camfit.method import Calibration
from camfit.methods.pruning.structured_sparsity import Scale, StructuredSparsity
from camfit.network import Network
from camfit.pack import pack
from camfit.surgery import apply
from camfit.trace import trace
from engine.writer import RELU, RELU6, Net, dense, half, hashed, sign
from export.compiled import STRICT, assert_runs_as_the_engine, assert_same_bits, cc, images_for, run_on_arm
from networks import Allowed, networks, random_network, with_forms


def packed(network: Network, *, half: bool = False, **info: object) -> bytes:
    channels = network.input_shape[0]
    return pack(network, Normalisation((1 / 64,) * channels, (-2.0,) * channels), half=half, info=dict(info)).data


@torch.no_grad()
def lenet5() -> Network:
    """LeNet-5 in the shape that Deep Compression leaves it in: 8 % of the weights, codebooks of 32 entries."""
    torch.manual_seed(0)
    network = trace(zoo.build("lenet5", (1, 28, 28), 10), (1, 28, 28))
    for layer in network.weighted().values():
        alive = torch.rand(layer.weight.shape) < 0.08
        index = torch.where(alive, torch.randint(0, 32, layer.weight.shape), -1)
        attach(layer, Codebook(index, 32), torch.randn(32) / 8)
    return network


def sections(folder: Path) -> dict[str, int]:
    """Bytes of each section of net.o."""
    listed = subprocess.run(["size", "-A", "net.o"], cwd=folder, capture_output=True, text=True, check=True).stdout
    return {name: int(size) for name, size in re.findall(r"^(\.\S+)\s+(\d+)", listed, re.MULTILINE)}


# -- the same bits ---------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(networks(Allowed(binary=True)), st.integers(0, 1 << 16), st.booleans())
def test_random_networks_in_random_forms(network: Network, seed: int, half: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert_runs_as_the_engine(Path(folder), packed(with_forms(network, seed), half=half), seed)


@pytest.mark.parametrize("scale", ["kernel", "intra-kernel"])
def test_structured_zeros(scale: Scale, tmp_path: Path) -> None:
    """The engine's plain set leaves columns out; exported sources read the stored weights: the same bits all the same."""
    torch.manual_seed(0)
    network = trace(zoo.build("digits_cnn", (3, 9, 9), 4), (3, 9, 9))
    calibration = Calibration(torch.randn(4, 3, 9, 9), torch.zeros(4, dtype=torch.int64))
    pruned = apply(network, StructuredSparsity(scale, 0.8, stride=3, group=16, rounds=0).plan(network, calibration))
    assert_runs_as_the_engine(tmp_path, packed(pruned), 1)


@pytest.mark.parametrize("scale_input", [False, True])
@pytest.mark.parametrize("channels", [31, 32, 33, 70])
def test_binary_layers_of_several_words(channels: int, scale_input: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(channels)
    net = Net((6, 7, channels), [0.01] * channels, [-1.3] * channels)
    weight = sign(rng.random(5) + 0.1, rng.standard_normal((5, channels, 3, 2)))
    bias = dense(rng.standard_normal(5))
    net.conv2d(weight, stride=(2, 1), pad=(1, 0, 1, 1), activation=RELU, scale=half(rng.random(5)), bias=bias,
               scale_input=scale_input)  # fmt: skip
    net.add_node("flatten")
    cin = 5 * 3 * 7
    net.linear(sign(rng.random(3), rng.standard_normal((3, cin))), scale_input=scale_input, bias=half(rng.random(3)))
    assert_runs_as_the_engine(tmp_path, net.encode())


def test_convolutions_wider_than_panels_and_blocks(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    net = Net((5, 6, 6), [0.01] * 6, [-1.0] * 6)
    net.conv2d(dense(rng.standard_normal((38, 3, 3, 3))), pad=(1, 1, 1, 1), groups=2, activation=RELU6)
    net.conv2d(hashed((36, 38, 1, 1), 7, rng.standard_normal(99)), bias=half(rng.standard_normal(36)))
    net.conv2d(sign(rng.random(36), rng.standard_normal((36, 1, 3, 3))), groups=36, dilation=(2, 2))
    assert_runs_as_the_engine(tmp_path, net.encode())


def test_channels_laid_out_as_pixels_and_picked(tmp_path: Path) -> None:
    net = Net((3, 2, 12), [0.01] * 12)
    net.add_node("depth_to_space", None, [3, 2, 2, 1, 4, 0])
    net.add_node("slice", None, [1, 1])
    net.add_node("concat", [1, 2])
    assert_runs_as_the_engine(tmp_path, net.encode())


def test_vectors_of_every_binary16_value(tmp_path: Path) -> None:
    """Normal, subnormal, both zeros: each as a bias, added to 0."""
    bits = np.arange(1 << 16, dtype=np.uint16)
    finite = bits[(bits & 0x7C00) != 0x7C00].view(np.float16)
    net = Net((1, 1, len(finite)), scale=[0.0] * len(finite))
    net.add_node("affine", None, [0], (half(finite), half(finite)))
    assert_runs_as_the_engine(tmp_path, net.encode())


def test_softmax_from_far_apart_to_equal(tmp_path: Path) -> None:
    shift = np.concatenate([np.linspace(-120, 0, 1500), np.linspace(-1e-3, 0, 100), [-3e38]]).tolist()
    net = Net((1, 1, len(shift)), scale=[0.001] * len(shift), shift=shift)
    net.add_node("softmax")
    assert_runs_as_the_engine(tmp_path, net.encode())


def test_arm_gives_the_same_bits_without_being_told_not_to_fuse(tmp_path: Path) -> None:
    """GNU C for ARM fuses products and sums by default: the source itself forbids it."""
    for seed in range(6):
        data = packed(with_forms(random_network(seed, Allowed(binary=seed % 2 == 0)), seed))
        folder = tmp_path / str(seed)
        export_c(data, folder, name="net")
        engine = Engine(data, isa="plain")
        images = images_for(engine, seed)
        for options in (("-O2",), (*STRICT, "-O2", "-Wno-error=pragmas")):
            found = np.frombuffer(run_on_arm(folder, images, *options), np.float32)
            assert_same_bits(found, engine.run(images))


# -- what the sources are --------------------------------------------------------------------------------------


def test_lenet5_is_small_code_around_its_constants(tmp_path: Path) -> None:
    data = packed(lenet5(), half=True)
    exported = export_c(data, tmp_path, name="net")
    cc(tmp_path, *STRICT, "-O2", "-fno-pic", "-c", "net.c")
    found = sections(tmp_path)
    constants = sum(size for name, size in found.items() if name.startswith(".rodata"))
    assert found[".text"] < 8_000
    assert exported.weight_bytes <= constants <= exported.weight_bytes + 2_000
    assert found[".text"] + constants < 60_000, "pruned and shared, all of LeNet-5"
    assert found[".bss"] == exported.arena_bytes == Engine(data).memory["arena_bytes"]
    assert sum(exported.layers.values()) + 8 == exported.weight_bytes


def test_nothing_is_called_but_the_copying_of_memory(tmp_path: Path) -> None:
    for seed in range(12):
        network = with_forms(random_network(seed, Allowed(binary=seed % 2 == 0)), seed)
        export_c(packed(network), tmp_path, name="net")
        cc(tmp_path, *STRICT, "-O2", "-c", "net.c")
        undefined = subprocess.run(["nm", "-u", "net.o"], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert set(undefined.stdout.split()) <= {"U", "memcpy", "memset", "memmove", "_GLOBAL_OFFSET_TABLE_"}


def test_only_the_functions_of_the_header_are_visible_and_cxx_takes_it(tmp_path: Path) -> None:
    export_c(packed(lenet5(), classes=list("0123456789")), tmp_path, name="net")
    cc(tmp_path, *STRICT, "-O2", "-c", "net.c")
    listed = subprocess.run(["nm", "-g", "net.o"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r" [TDR] (\w+)", listed)) == {"net_run", "net_run_f32", "net_classes"}
    (tmp_path / "user.cpp").write_text(
        '#include "net.h"\n#include "net.h"\nint main() { return NET_OUTPUT_SIZE - 10; }\n'
    )
    cc(tmp_path, "-Wall", "-Werror", "-o", "user", "user.cpp", compiler="c++")
    subprocess.run([tmp_path / "user"], check=True)


def test_two_networks_fit_into_one_program(tmp_path: Path) -> None:
    for name in ("first", "second"):
        export_c(packed(lenet5()), tmp_path, name=name)
    (tmp_path / "main.c").write_text('#include "first.h"\n#include "second.h"\nint main(void) { return 0; }\n')
    cc(tmp_path, *STRICT, "-o", "main", "main.c", "first.c", "second.c")


def test_a_shared_layer_is_written_once(tmp_path: Path) -> None:
    net = Net((1, 1, 64))
    weight = dense(np.eye(64))
    for _ in range(3):
        net.linear(weight)
    exported = assert_runs_as_the_engine(tmp_path, net.encode())
    assert exported.layers == {"linear0": 4 * 64 * 64, "linear1": 0, "linear2": 0}


def test_names_from_the_file_stay_in_comments_and_strings(tmp_path: Path) -> None:
    net = Net((1, 1, 3), info='{"classes": ["a\\"\\\\b", "*/ ??/ %s", "\u00e9"]}'.encode())
    net.add_node("activation", None, [RELU], (), 'x*/ int y; /* \\"\u00e9??/')
    assert_runs_as_the_engine(tmp_path, net.encode())
    main = '#include <stdio.h>\n#include "net.h"\nint main(void) { int i; for (i = 0; i < 3; ++i) puts(net_classes[i]); }\n'
    (tmp_path / "main.c").write_text(main)
    cc(tmp_path, "-std=c99", "-trigraphs", "-o", "main", "main.c", "net.c")
    assert subprocess.run([tmp_path / "main"], capture_output=True, check=True).stdout.decode().split("\n")[:3] == [
        'a"\\b', "*/ ??/ %s", "\u00e9",
    ]  # fmt: skip


def test_classes_are_left_out_where_the_file_does_not_name_each_output(tmp_path: Path) -> None:
    net = Net((1, 1, 3), info=b'{"classes": ["a", "b"]}')
    net.add_node("activation", None, [RELU])
    export_c(net.encode(), tmp_path, name="net")
    assert "classes" not in (tmp_path / "net.h").read_text()


def test_the_header_says_which_function_float_images_need(tmp_path: Path) -> None:
    net = Net((2, 2, 1), info=b'{"pixels": "float32"}')
    net.add_node("flatten")
    assert_runs_as_the_engine(tmp_path, net.encode())
    assert "in 0..1 for images, so use net_run_f32" in (tmp_path / "net.h").read_text()


def test_the_same_file_gives_the_same_sources(tmp_path: Path) -> None:
    texts = []
    for folder in ("a", "b"):
        exported = export_c(packed(lenet5()), tmp_path / folder)
        assert [path.name for path in exported.files] == ["model_weights.h", "model.h", "model.c"]
        assert sorted(exported.files) == sorted((tmp_path / folder).iterdir())
        texts.append([path.read_bytes() for path in exported.files])
    assert texts[0] == texts[1]


# -- what is refused -------------------------------------------------------------------------------------------


def test_files_of_two_exports_do_not_compile_together(tmp_path: Path) -> None:
    export_c(packed(random_network(1)), tmp_path, name="net")
    shutil.copy(tmp_path / "net_weights.h", tmp_path / "old.h")
    export_c(packed(random_network(2)), tmp_path, name="net")
    shutil.copy(tmp_path / "old.h", tmp_path / "net_weights.h")
    done = subprocess.run(["cc", "-c", "net.c"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0 and "come from different exports" in done.stderr


def test_fast_math_is_refused(tmp_path: Path) -> None:
    export_c(packed(random_network(1)), tmp_path, name="net")
    done = subprocess.run(["cc", "-ffast-math", "-c", "net.c"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0 and "fast-math changes the bits" in done.stderr


@pytest.mark.parametrize("name", ["", "2net", "my-net", "_net", "net.c", "a/b", "né"])
def test_a_name_that_c_does_not_take(name: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=f"name {name!r}: expected a C identifier"):
        export_c(packed(random_network(1)), tmp_path, name=name)


def test_somebody_elses_file_stays(tmp_path: Path) -> None:
    data = packed(random_network(1))
    (tmp_path / "net.h").write_text("mine")
    with pytest.raises(ExportError, match=r"net\.h: was not written by camfit export; .*--force"):
        export_c(data, tmp_path, name="net")
    assert [path.name for path in tmp_path.iterdir()] == ["net.h"] and (tmp_path / "net.h").read_text() == "mine"
    export_c(data, tmp_path, name="net", force=True)
    export_c(packed(random_network(2)), tmp_path, name="net")  # its own it does overwrite
    assert Path(tmp_path / "net.h").read_text().startswith("/* Written by camfit export")


def test_a_file_in_place_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ExportError, match=r"file/net_weights\.h: is in the way: Not a directory"):
        export_c(packed(random_network(1)), tmp_path / "file", name="net")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.camfit").write_bytes(packed(random_network(1))[:-1])
    with pytest.raises(FileError, match=r"m\.camfit: "):
        export_c(tmp_path / "m.camfit", tmp_path)

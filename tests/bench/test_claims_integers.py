from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from camfit.bench import bases
from camfit.bench.bases import Base
from camfit.bench.claims import emulated_arm, integers
from camfit.bench.claims.integers import CLAIMS, differing
from camfit.data import Normalisation
from camfit.engine import Engine
from camfit.evaluate import Samples
from camfit.method import Calibration
from camfit.methods.precision.fixed_point import FixedPoint
from camfit.pack import pack
from camfit.surgery import apply
from camfit.tasks import classification
from camfit.trace import trace
from camfit.train import Train, quiet
from methods.chain import chain
from tiny import dataset, trained_net

ACCURACY, BITS = CLAIMS


def losses(after_training: float, trained_on: float) -> dict[str, float]:
    return {
        f"{name}: {which}": 90 - lost
        for name in bases.NAMES
        for which, lost in (("float", 0.0), ("int8", after_training), ("int8, trained on", trained_on))
    }


def test_the_median_over_the_seeds_decides_for_each_network() -> None:
    good, bad = losses(0.4, 0.1), losses(0.6, 0.1)
    assert ACCURACY.verdict([good, good, bad], 3) == "holds"
    assert ACCURACY.verdict([good, bad, bad], 3) == "does not hold"
    assert ACCURACY.verdict([losses(0.4, 0.3)], 1) == "does not hold"
    one = {**good, f"{bases.NAMES[-1]}: int8": 89.0}
    assert ACCURACY.verdict([one], 1) == "does not hold"


def bits(**differ: float) -> dict[str, float]:
    platforms = {"plain C++": 0.0, "AVX2": 0.0, "AVX-512": 0.0, "64-bit ARM": 0.0} | differ
    return {f"{name}: {p}, outputs that differ": n for name in bases.NAMES for p, n in platforms.items()}


def test_a_platform_that_was_not_there_leaves_it_open_and_one_bit_decides() -> None:
    assert BITS.verdict([bits()], 1) == "holds"
    assert BITS.verdict([bits(AVX2=1.0)], 1) == "does not hold"
    without = {name: value for name, value in bits().items() if "ARM" not in name}
    assert BITS.verdict([without], 1) == "not reached"
    assert BITS.verdict([{**without, **dict.fromkeys(without, 1.0)}], 1) == "does not hold"


def test_outputs_are_compared_by_their_bits() -> None:
    one = np.array([[0.0, 1.0, 2.0]], np.float32)
    assert differing(one, np.array([[-0.0, 1.0, 2.0]], np.float32)) == 0
    assert differing(one, np.array([[0.0, np.nextafter(np.float32(1), np.float32(2)), 3.0]], np.float32)) == 2


def test_figures_are_of_the_packed_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = dataset()
    training, held, test = (Samples.of(data, split) for split in (data.train, data.val, data.test))
    network = trace(trained_net(data), data.input_shape).eval()
    base = Base("tiny", network, data, training, held, test, classification(), 1.0)
    monkeypatch.setattr(integers, "base_of", lambda *arguments: base)
    monkeypatch.setattr(integers, "_TUNING", Train(1, learning_rate=0.01))
    monkeypatch.setattr(emulated_arm, "outputs", lambda file, images, progress: Engine(file).run(images))
    accuracy = ACCURACY.measure["lenet-5"](0, tmp_path, quiet)  # type: ignore[index]
    assert list(accuracy) == ["float", "int8", "int8, trained on"]
    right = int(
        (Engine(pack(network, data.normalisation).data).run(data.test.images).argmax(1) == data.test.labels).sum()
    )
    assert accuracy["float"] == pytest.approx(100 * right / len(data.test))
    same = BITS.measure["lenet-5"](0, tmp_path, quiet)  # type: ignore[index]
    assert same["float ops"] == 0 and same["plain C++, outputs that differ"] == 0
    assert same["64-bit ARM, outputs that differ"] == 0


def test_what_is_missing_for_arm_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path: None)
    with pytest.raises(emulated_arm.NoArmError, match="needs qemu-aarch64-static, which is not installed"):
        emulated_arm.outputs(b"", np.zeros((1, 2, 2, 1), np.uint8))


@pytest.mark.skipif(
    shutil.which("qemu-aarch64-static") is None or not emulated_arm._BUILD.exists(),
    reason="needs qemu and the engine built for ARM (camfit bench claims NP5 builds it)",
)
def test_arm_gives_the_bits_of_this_machine() -> None:
    torch.manual_seed(0)
    network = chain((1, 6, 6), conv=nn.Conv2d(1, 4, 3), relu=nn.ReLU(), flatten=nn.Flatten(), fc=nn.Linear(64, 5))
    images = np.random.default_rng(0).integers(0, 256, (3, 6, 6, 1), np.uint8)
    x = torch.from_numpy(images).permute(0, 3, 1, 2) / 255

    plan = FixedPoint().plan(network, Calibration(x, torch.zeros(3, dtype=torch.int64)))
    file = pack(apply(network, plan), Normalisation((1 / 255,), (0.0,))).data
    np.testing.assert_array_equal(emulated_arm.outputs(file, images), Engine(file).run(images))

"""Threads change nothing but the time taken."""

import threading

import numpy as np
import pytest

from camfit import _native
from engine.run import ISAS, MODES
from engine.test_forms import codebook, random_index, sparse
from engine.writer import RELU, Net, dense, hashed, sign


def wide_net() -> Net:
    """Every op that is shared among threads, each with enough work to be shared."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32) / np.sqrt(np.prod(shape[1:]))

    net = Net((33, 31, 3), scale=[0.02] * 3, shift=[-2.0] * 3)
    net.conv2d(dense(normal(40, 3, 5, 5)), pad=(2, 2, 2, 2), activation=RELU)
    index = random_index(rng, (40, 40, 3, 3), 16, 0.3)
    conv = net.conv2d(codebook(index, normal(16)), pad=(1, 1, 1, 1))
    depthwise = net.conv2d(dense(normal(40, 1, 3, 3)), pad=(1, 1, 1, 1), groups=40)
    both = net.add_node("add", [conv, depthwise], [RELU])
    net.add_node("affine", both, [0], [dense(normal(40)), dense(normal(40))])
    net.conv2d(sign(rng.random(64), normal(64, 40, 3, 3)), pad=(1, 1, 1, 1), scale_input=True)
    net.conv2d(hashed((70, 64, 3, 3), 5, normal(100)), stride=(2, 2))
    pooled = net.pool("max_pool", (3, 3), pad=(1, 1, 1, 1))
    average = net.pool("avg_pool", (3, 3), pad=(1, 1, 1, 1), count_include_pad=False)
    net.add_node("concat", [pooled, average])
    net.add_node("activation", attributes=[RELU])
    net.pool("max_pool", (4, 4), stride=(4, 4))
    net.add_node("flatten")
    index = random_index(rng, (300, 140 * 12), 16, 0.08)
    net.linear(codebook(index, normal(16)))
    net.linear(sparse(np.where(rng.random((600, 300)) < 0.09, normal(600, 300), 0).astype(np.float32)))
    net.linear(hashed((250, 600), 6, normal(100)))
    net.linear(sign(rng.random(260), normal(260, 250)))
    net.linear(sign(rng.random(400), normal(400, 260)), scale_input=True)
    net.linear(dense(normal(1000, 400)))
    return net


@pytest.fixture(scope="module")
def data() -> bytes:
    return wide_net().encode()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (6, 33, 31, 3), dtype=np.uint8)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("threads", [2, 3, 7])
def test_any_number_of_threads_gives_the_same_bits(
    data: bytes, images: np.ndarray, isa: str, mode: str, threads: int
) -> None:
    one, several = _native.Engine(data, 1, mode, isa), _native.Engine(data, threads, mode, isa)
    wanted = one.run(images)
    assert np.abs(wanted).max() > 0.01
    for _ in range(3):
        np.testing.assert_array_equal(several.run(images), wanted)


@pytest.mark.parametrize("mode", MODES)
def test_instruction_sets_agree(data: bytes, images: np.ndarray, mode: str) -> None:
    # Signs of values next to 0 may fall either way, so the layers up to the first binary one cannot be compared through
    # it: the whole network is, on average.
    wanted = _native.Engine(data, 1, mode, "plain").run(images)
    for isa in ISAS:
        given = _native.Engine(data, 1, mode, isa).run(images)
        assert np.abs(given - wanted).mean() < 0.02 * np.abs(wanted).mean()


def test_modes_agree(data: bytes, images: np.ndarray) -> None:
    for isa in ISAS:
        speed, memory = (_native.Engine(data, 1, mode, isa).run(images) for mode in MODES)
        assert np.abs(speed - memory).mean() < 0.02 * np.abs(speed).mean()


def run_in_threads(engines: list, images: np.ndarray, wanted: np.ndarray) -> None:
    failures: list[Exception] = []

    def work(engine: _native.Engine) -> None:
        try:
            for _ in range(5):
                np.testing.assert_array_equal(engine.run(images), wanted)
        except Exception as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(engine,)) for engine in engines]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


@pytest.mark.parametrize("threads", [1, 2])
def test_engines_run_side_by_side(data: bytes, images: np.ndarray, threads: int) -> None:
    engines = [_native.Engine(data, threads) for _ in range(3)]
    run_in_threads(engines, images, engines[0].run(images))


@pytest.mark.parametrize("threads", [1, 2])
def test_callers_of_one_engine_take_turns(data: bytes, images: np.ndarray, threads: int) -> None:
    engine = _native.Engine(data, threads)
    run_in_threads([engine] * 3, images, engine.run(images))


def test_the_interpreter_runs_on_while_the_engine_works(data: bytes, images: np.ndarray) -> None:
    engine = _native.Engine(data, 1, "speed", "plain")
    count, done = 0, threading.Event()

    def work() -> None:
        engine.time_runs(images, 4)
        done.set()

    worker = threading.Thread(target=work)
    worker.start()
    while not done.wait(0.001):
        count += 1
    worker.join()
    assert count > 1

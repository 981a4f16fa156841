"""A run that was killed goes on from its last finished epoch and ends with the same bits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from camfit import train as module
from camfit.errors import RunError
from camfit.storage import network_bytes
from camfit.tasks import classification
from camfit.train import Train, train
from training import data, every_form


class Killed(Exception):
    pass


def run(options: Train, checkpoint: Path | None, kill: int = 0) -> tuple[bytes, list[float], list[float]]:
    """(network, losses, validation) after training; ``kill`` ends the process, so to speak, after that many epochs."""
    network = every_form()
    torch.manual_seed(1234 + kill)  # what the process drew before must not matter

    def progress(message: str) -> None:
        if kill and f"epoch {kill + 1}/" in message:
            raise Killed

    history = train(
        network, data(), data(20, 1), classification(), options, seed=5, checkpoint=checkpoint, progress=progress
    )
    return network_bytes(network), history.loss, history.validation


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one-cycle"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_killed_run_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str, schedule: str
) -> None:
    monkeypatch.setattr(module, "_SAVE_EVERY", 0.0)
    monkeypatch.setattr(module, "_TELL_EVERY", 0.0)
    options = Train(5, 0.02, 16, optimizer, schedule=schedule, augment="flip-shift", clip=1.0)  # type: ignore[arg-type]
    undisturbed = run(options, None)
    checkpoint = tmp_path / "checkpoint.pt"
    for kill in (2, 3):
        with pytest.raises(Killed):
            run(options, checkpoint, kill)
        assert checkpoint.exists()
    assert run(options, checkpoint) == undisturbed
    assert len(undisturbed[1]) == len(undisturbed[2]) == 5


def test_seeds_differ_and_leave_torchs_own_numbers_alone() -> None:
    results = []
    for seed in (1, 1, 2):
        network = every_form()
        torch.manual_seed(7)
        train(network, data(), data(), classification(), Train(1, 0.05, 16), seed=seed)
        assert float(torch.rand(())) == float(torch.rand((), generator=torch.Generator().manual_seed(7)))
        results.append(network_bytes(network))
    assert results[0] == results[1] != results[2]


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(
        RunError, match=r"checkpoint.pt: not a usable checkpoint \(UnpicklingError\); delete it to train this step anew"
    ):
        run(Train(1), path)

"""A base network is trained once, read back as it was, and refused where another recipe made it."""

from pathlib import Path

import pytest
import torch

from camfit.bench import bases
from camfit.data import Dataset, load
from camfit.errors import CamfitError
from camfit.storage import read_json, write_json
from camfit.train import Train
from camfit.zoo import lenet_300_100


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digits in place of Fashion-MNIST, and one epoch."""
    recipe = bases._Recipe(lenet_300_100.build, Train(1))
    monkeypatch.setattr(bases, "_RECIPES", {"lenet-300-100": recipe})

    def digits(spec: str, *, seed: int) -> Dataset:
        return load("digits", seed=seed)

    monkeypatch.setattr(bases, "load", digits)


def test_second_call_reads_the_first_ones_network(tmp_path: Path) -> None:
    said: list[str] = []
    first = bases.base("lenet-300-100", 0, tmp_path, said.append)
    told = len(said)
    again = bases.base("lenet-300-100", 0, tmp_path, said.append)
    assert told > 0
    assert len(said) == told
    assert again.seconds == first.seconds > 0
    for name, value in first.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name])


def test_seeds_are_other_networks(tmp_path: Path) -> None:
    one, two = (bases.base("lenet-300-100", seed, tmp_path).network.state_dict() for seed in (0, 1))
    assert not torch.equal(one["fc1.weight"], two["fc1.weight"])


def test_a_network_of_another_recipe_is_refused(tmp_path: Path) -> None:
    bases.base("lenet-300-100", 0, tmp_path)
    record = tmp_path / "lenet-300-100" / "seed-0" / "training.json"
    kept = read_json(record)
    kept["training"]["epochs"] = 2
    write_json(record, kept)
    with pytest.raises(CamfitError, match=r"another recipe.*delete"):
        bases.base("lenet-300-100", 0, tmp_path)


def test_a_record_that_does_not_know_an_option_yet_is_of_its_default(tmp_path: Path) -> None:
    first = bases.base("lenet-300-100", 0, tmp_path)
    record = tmp_path / "lenet-300-100" / "seed-0" / "training.json"
    kept = read_json(record)
    del kept["training"]["keep_norms"]
    write_json(record, kept)
    assert bases.base("lenet-300-100", 0, tmp_path).seconds == first.seconds
    for broken in ({"training": None}, {"training": {**kept["training"], "newer": 1}}):
        write_json(record, {**kept, **broken})
        with pytest.raises(CamfitError, match=r"another recipe.*delete"):
            bases.base("lenet-300-100", 0, tmp_path)


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CamfitError, match="'lenet': expected one of lenet-300-100"):
        bases.base("lenet", 0, tmp_path)

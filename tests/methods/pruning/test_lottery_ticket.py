from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from camfit.errors import PlanError, RecipeError
from camfit.evaluate import Samples
from camfit.execute import Workshop
from camfit.forms import Masked, form_of, weight_of
from camfit.method import Calibration
from camfit.methods.pruning.lottery_ticket import LotteryTicket, find_ticket
from camfit.methods.quantization.weight_sharing import WeightSharing
from camfit.network import Network
from camfit.run import Run
from camfit.storage import load_network, network_bytes, save_network
from camfit.surgery import apply
from camfit.tasks import classification
from camfit.train import Train
from methods.chain import CALIBRATION, chain

TRAINING = Train(2, 0.1, batch_size=16)


def convolutional(seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return chain(
        (1, 4, 4),
        conv=nn.Conv2d(1, 5, 3, padding=1),
        norm=nn.BatchNorm2d(5),
        relu=nn.ReLU(),
        flatten=nn.Flatten(),
        fc1=nn.Linear(80, 10),
        relu2=nn.ReLU(),
        fc2=nn.Linear(10, 3),
    )


def workshop() -> Workshop:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(64, 1, 4, 4, generator=generator)
    samples = Samples(inputs, (inputs[:, 0, 0, 0] > 0).long() + (inputs[:, 0, 1, 1] > 0).long())
    return Workshop(samples, samples, classification(), 3, lambda line: None)


def mask(network: Network, path: str) -> Tensor:
    form = form_of(network.layer(path))
    assert isinstance(form, Masked)
    return form.mask


def saved(network: Network, folder: Path, name: str = "initial") -> str:
    file = folder / f"{name}.safetensors"
    save_network(network, file)
    return str(file)


def values(network: Network) -> dict[str, Tensor]:
    """Every value but the weights of convolutions and linear layers."""
    return {
        name: value
        for name, value in network.state_dict().items()
        if "parametrizations" not in name
        and name not in {f"{path}.weight" for path in network.weighted()}
        and "num_batches" not in name
    }


def test_kept_weights_are_the_initial_ones_to_the_bit_and_the_others_zero(tmp_path: Path) -> None:
    initial = convolutional()
    with Run(tmp_path, {}) as run:
        ticket, records = find_ticket(initial, workshop(), run, rounds=2, training=TRAINING)
    assert [record["kind"] for record in records] == ["train", "rewrite", "train", "rewrite"]
    trained = load_network(tmp_path / "steps" / "ticket-03-train" / "network.safetensors")
    for path, layer in ticket.weighted().items():
        expected = torch.where(mask(ticket, path), weight_of(initial.layer(path)), 0.0)
        assert torch.equal(weight_of(layer), expected)
        assert not torch.equal(weight_of(trained.layer(path)), weight_of(layer)), "it was trained in between"
    for name, value in values(initial).items():
        assert torch.equal(values(ticket)[name], value), name
    assert not torch.equal(values(trained)["norm.running_mean"], values(initial)["norm.running_mean"])


def test_each_round_prunes_the_smallest_trained_weights_of_those_left(tmp_path: Path) -> None:
    initial = convolutional()
    with Run(tmp_path, {}) as run:
        find_ticket(initial, workshop(), run, rounds=3, training=TRAINING, options=LotteryTicket(rate=0.3))
    before = {path: torch.ones_like(weight_of(layer), dtype=torch.bool) for path, layer in initial.weighted().items()}
    for number in (1, 3, 5):
        trained = load_network(tmp_path / "steps" / f"ticket-{number:02d}-train" / "network.safetensors")
        pruned = load_network(tmp_path / "steps" / f"ticket-{number + 1:02d}-lottery-ticket" / "network.safetensors")
        for path in before:
            kept, size = mask(pruned, path), weight_of(trained.layer(path)).detach().abs()
            assert not bool((kept & ~before[path]).any()), "masks nest"
            gone = before[path] & ~kept
            assert float(size[gone].max()) <= float(size[kept].min())
            rate = 0.15 if path == "fc2" else 0.3
            assert int(kept.sum()) == round((1 - rate) * int(before[path].sum()))
            before[path] = kept


def test_a_search_that_was_killed_ends_in_the_same_bytes(tmp_path: Path) -> None:
    initial = convolutional()
    with Run(tmp_path / "whole", {}) as run:
        whole, _ = find_ticket(initial, workshop(), run, rounds=2, training=TRAINING)

    class KilledError(Exception):
        pass

    def stop(line: str) -> None:
        if "02-lottery-ticket" in line:
            raise KilledError

    shop = workshop()
    with Run(tmp_path / "killed", {}) as run, pytest.raises(KilledError):
        killed = Workshop(shop.training, shop.validation, shop.task, shop.seed, stop)
        find_ticket(initial, killed, run, rounds=2, training=TRAINING)
    with Run(tmp_path / "killed", {}) as run:
        assert run.resumed_steps == 2
        again, _ = find_ticket(initial, shop, run, rounds=2, training=TRAINING)
    assert network_bytes(again) == network_bytes(whole)


def test_late_rewinding_puts_back_an_early_network(tmp_path: Path) -> None:
    """Whatever network the search starts from is what it goes back to."""
    early = convolutional(7)
    with Run(tmp_path, {}) as run:
        ticket, _ = find_ticket(early, workshop(), run, rounds=1, training=TRAINING)
    assert torch.equal(weight_of(ticket.layer("fc1")), weight_of(early.layer("fc1")) * mask(ticket, "fc1"))


def test_the_control_with_new_values_has_the_tickets_mask(tmp_path: Path) -> None:
    trained, other = convolutional(0), convolutional(1)
    ticket = apply(trained, LotteryTicket(rewind=saved(convolutional(2), tmp_path)).plan(trained, CALIBRATION))
    options = LotteryTicket(rewind=saved(other, tmp_path, "other"), rate=0.0)
    control = apply(ticket, options.plan(ticket, CALIBRATION))
    for path, layer in control.weighted().items():
        assert torch.equal(mask(control, path), mask(ticket, path))
        assert torch.equal(weight_of(layer), torch.where(mask(ticket, path), weight_of(other.layer(path)), 0.0))


def test_the_control_with_a_random_mask_keeps_as_many(tmp_path: Path) -> None:
    initial = convolutional()
    file = saved(initial, tmp_path)
    keep = {"conv": 0.4, "fc1": 0.11, "fc2": 0.5}
    masks = []
    for seed in (1, 1, 2):
        data = Calibration(torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64), seed)
        control = apply(initial, LotteryTicket(rewind=file, keep=keep, mask="random").plan(initial, data))
        for path, layer in control.weighted().items():
            assert int(mask(control, path).sum()) == round(keep[path] * weight_of(layer).numel())
            assert torch.equal(weight_of(layer), weight_of(initial.layer(path)) * mask(control, path))
        masks.append(mask(control, "fc1"))
    assert torch.equal(masks[0], masks[1]) and not torch.equal(masks[0], masks[2])
    size = weight_of(initial.layer("fc1")).detach().abs()
    assert float(size[masks[0]].min()) < float(size[~masks[0]].max()), "not by magnitude"


def test_without_a_file_the_trained_values_stay(tmp_path: Path) -> None:
    network = convolutional()
    pruned = apply(network, LotteryTicket().plan(network, CALIBRATION))
    for path, layer in network.weighted().items():
        assert torch.equal(weight_of(pruned.layer(path)), weight_of(layer) * mask(pruned, path))


def test_a_skipped_layer_is_put_back_whole(tmp_path: Path) -> None:
    initial, trained = convolutional(0), convolutional(1)
    options = LotteryTicket(rewind=saved(initial, tmp_path), skip=("conv",))
    ticket = apply(trained, options.plan(trained, CALIBRATION))
    assert torch.equal(weight_of(ticket.layer("conv")), weight_of(initial.layer("conv")))
    assert form_of(ticket.layer("conv")) is None


def test_a_file_of_another_architecture_is_refused_by_layer(tmp_path: Path) -> None:
    network = convolutional()
    other = chain((1, 4, 4), conv=nn.Conv2d(1, 6, 3, padding=1))
    options = LotteryTicket(rewind=saved(other, tmp_path))
    expected = r"layer 'conv': rewind .* has one of shape [6] for bias, expected shape [5]"
    with pytest.raises(PlanError, match=re.escape(expected).replace(r"\.\*", ".*")):
        options.plan(network, CALIBRATION)
    with pytest.raises(PlanError, match=r"lottery-ticket: rewind .*missing.safetensors' cannot be read"):
        LotteryTicket(rewind=str(tmp_path / "missing.safetensors")).plan(network, CALIBRATION)


def test_a_weight_that_cannot_be_put_back_is_refused_by_name(tmp_path: Path) -> None:
    network = convolutional()
    shared = apply(network, WeightSharing().plan(network, CALIBRATION))
    with pytest.raises(PlanError, match=r"lottery-ticket: layer 'conv': .* form codebook \(weight-sharing\)"):
        LotteryTicket(rewind=saved(network, tmp_path)).plan(shared, CALIBRATION)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 1.0}, r"rate is 1.0, expected in \[0, 1\)"),
        ({"output_rate": -0.1}, r"output_rate is -0.1, expected in \[0, 1\)"),
        ({"rates": {"fc1": 2.0}}, r"rates.fc1 is 2.0, expected in \[0, 1\)"),
        ({"keep": {"fc1": 0.0}}, "keep.fc1 is 0.0"),
        ({"mask": "snip"}, "mask is 'snip', expected 'magnitude' or 'random'"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=f"lottery-ticket: {message}"):
        LotteryTicket(**options)  # type: ignore[arg-type]

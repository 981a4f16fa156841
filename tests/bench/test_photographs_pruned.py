"""The public network without its batch-norms, its repair without labels, and the page."""

from __future__ import annotations

import pytest
import torch

from camfit.bench import photographs_pruned
from camfit.bench.machine import this_machine
from camfit.bench.photographs_pruned import Report, Row, page, repair, without_norms
from camfit.evaluate import Samples, predict
from camfit.method import Calibration
from camfit.methods.pruning.l1_filters import L1Filters
from camfit.network import Network
from camfit.surgery import apply
from camfit.trace import trace
from camfit.train import Train, quiet
from camfit.zoo import mobilenet_v2


def small() -> Network:
    torch.manual_seed(0)
    network = trace(mobilenet_v2.build((3, 32, 32), 10), (3, 32, 32))
    for name, buffer in network.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2.0)
    return network.eval()


def test_folded_network_computes_the_same_and_has_no_norms() -> None:
    network, inputs = small(), torch.randn(4, 3, 32, 32)
    plain = without_norms(network)
    assert not [path for path, layer in plain.layers() if isinstance(layer, torch.nn.BatchNorm2d)]
    expected = predict(network, inputs)
    assert float((predict(plain, inputs) - expected).abs().max()) < 1e-4 * float(expected.abs().max())


def test_repair_moves_the_outputs_towards_the_whole_networks_and_looks_at_no_label(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(photographs_pruned, "_REPAIR", Train(4, learning_rate=0.02, batch_size=8, clip=1.0))
    whole = without_norms(small())
    inputs = torch.randn(48, 3, 32, 32)
    cut = apply(whole, L1Filters(macs=0.3).plan(whole, Calibration(inputs, torch.zeros(48, dtype=torch.int64)))).eval()
    expected = predict(whole, inputs)
    found = []
    for labels in (torch.zeros(48, dtype=torch.int64), torch.arange(48) % 10):
        network = cut.clone()
        repair(network, whole, Samples(inputs, labels), 0, quiet)
        found.append(predict(network, inputs))
    assert torch.equal(found[0], found[1])
    before = (predict(cut, inputs).softmax(1) - expected.softmax(1)).abs().mean()
    assert (found[0].softmax(1) - expected.softmax(1)).abs().mean() < 0.8 * before


def test_page_names_the_best_row_and_plain_l1() -> None:
    def row(name: str, repaired: bool, agree: int) -> Row:
        return Row(name, repaired, agree, 56, 5 * agree, 280, 10.0, 0.7, 0.8)

    rows = [row("L1 filters (PR6)", False, 7), row("L1 filters (PR6)", True, 28), row("ThiNet (PR7)", True, 42)]
    text = page(Report("camfit bench photographs-pruned", 0, 480, this_machine(), rows))
    assert "The best, ThiNet (PR7), repaired, keeps 75.0 %; L1 filters (PR6) without repair keeps 12.5 %." in text
    assert "| ThiNet (PR7) | yes | 75.0 % (42 of 56) | 75.0 % of 280 |" in text

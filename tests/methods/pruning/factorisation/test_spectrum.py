from __future__ import annotations

import torch

from camfit.methods.pruning.factorisation.spectrum import kept


def test_kept_is_the_share_of_the_first_ranks() -> None:
    assert kept(torch.tensor([6.0, 3.0, 1.0]).double()).tolist() == [0.0, 0.6, 0.9, 1.0]
    assert kept(torch.zeros(2).double()).tolist() == [1.0, 1.0, 1.0]


def test_no_rank_keeps_more_than_everything() -> None:
    """A running sum rounds otherwise than the sum: for some of these spectra it ends above it."""
    generator = torch.Generator().manual_seed(0)
    spectra = [torch.rand(50, generator=generator, dtype=torch.float64) for _ in range(200)]
    assert any(float(values.cumsum(0)[-1] / values.sum()) > 1 for values in spectra)
    assert all(float(kept(values).max()) <= 1 for values in spectra)

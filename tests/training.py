"""What the tests of training share: random samples and a network in which everything trains."""

from __future__ import annotations

import torch
from torch import nn

from camfit.evaluate import Samples
from camfit.forms import Codebook, Hashed, Masked, Sign, attach
from camfit.layers import BinaryConv2d
from camfit.network import Network
from methods.chain import chain


def data(count: int = 40, seed: int = 0) -> Samples:
    """Normal images of 2 x 6 x 6 with three labels at random."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 2, 6, 6, generator=generator)
    return Samples(inputs, torch.randint(0, 3, (count,), generator=generator))


def every_form() -> Network:
    """Batch-norm, dropout, and a layer in each form."""
    torch.manual_seed(0)
    network = chain(
        (2, 6, 6),
        conv=nn.Conv2d(2, 4, 3, padding=1),
        norm=nn.BatchNorm2d(4),
        binary=BinaryConv2d(4, 4, (3, 3)),
        drop=nn.Dropout2d(0.2),
        masked=nn.Conv2d(4, 4, 1),
        relu=nn.ReLU(),
        flatten=nn.Flatten(),
        hashed=nn.Linear(64, 8),
        shared=nn.Linear(8, 8),
        dropout=nn.Dropout(0.3),
        dense=nn.Linear(8, 3),
    )
    attach(network.layer("binary"), Sign(), torch.randn(4, 4, 3, 3).clamp(-1, 1))
    attach(network.layer("masked"), Masked(torch.rand(4, 4, 1, 1) < 0.5), torch.randn(4, 4, 1, 1))
    attach(network.layer("hashed"), Hashed((8, 64), 50, 3), torch.randn(50) / 8)
    attach(network.layer("shared"), Codebook(torch.randint(-1, 4, (8, 8)), 4), torch.randn(4) / 3)
    return network

"""For every test: one torch thread (the networks are small), and hypothesis repeatable without wall-clock limits."""

from __future__ import annotations

import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("camfit", deadline=None, derandomize=True)
settings.load_profile("camfit")

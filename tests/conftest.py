"""What holds for every test: one torch thread (tests run side by side), hypothesis without wall-clock limits, repeatable."""

from __future__ import annotations

import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("camfit", deadline=None, derandomize=True)
settings.load_profile("camfit")

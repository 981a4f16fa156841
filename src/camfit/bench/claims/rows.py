"""All claims that can be measured again, in the catalogue's order."""

from __future__ import annotations

from camfit.bench.claims import (
    factors,
    integers,
    learned,
    retraining,
    second_order,
    structured,
    three_scales,
    winning_ticket,
)
from camfit.bench.claims.claim import Claim

_FAMILIES = ("PR", "NP")  # in the survey's order

CLAIMS: tuple[Claim, ...] = tuple(
    sorted(
        (
            *second_order.CLAIMS,
            *retraining.CLAIMS,
            *three_scales.CLAIMS,
            *structured.CLAIMS,
            *learned.CLAIMS,
            *factors.CLAIMS,
            *winning_ticket.CLAIMS,
            *integers.CLAIMS,
        ),
        key=lambda claim: (_FAMILIES.index(claim.row[:2]), int(claim.row[2:])),
    )
)

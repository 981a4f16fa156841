"""All claims that can be measured again, in the catalogue's order."""

from __future__ import annotations

from camfit.bench.claims import integers, learned, second_order, structured, three_scales, winning_ticket
from camfit.bench.claims.claim import Claim

CLAIMS: tuple[Claim, ...] = (
    *second_order.CLAIMS,
    *three_scales.CLAIMS,
    *structured.CLAIMS,
    *learned.CLAIMS,
    *winning_ticket.CLAIMS,
    *integers.CLAIMS,
)

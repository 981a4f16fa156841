"""All claims that can be measured again, in the catalogue's order."""

from __future__ import annotations

from camfit.bench.claims import learned, second_order, structured, winning_ticket
from camfit.bench.claims.claim import Claim

CLAIMS: tuple[Claim, ...] = (*second_order.CLAIMS, *structured.CLAIMS, *learned.CLAIMS, *winning_ticket.CLAIMS)

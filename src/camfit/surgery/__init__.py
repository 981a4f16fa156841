"""The only place that changes a network: ``apply(network, plan)`` returns a new one and leaves the old bit-identical.

A plan takes effect as a whole or not at all. A contradiction raises :class:`~camfit.errors.PlanError`, which names both
sides: the edit that does not fit, and the earlier edit of the plan or the form that an earlier plan left behind.
``surgeon.py`` makes the edits, each with its checks; ``cut.py`` narrows layers, ``rewire.py`` changes the list of
calls, ``branches.py`` takes whole branches off; ``masking.py`` gives the network that must compute the same.
"""

from camfit.surgery.masking import masked
from camfit.surgery.surgeon import apply, check

__all__ = ["apply", "check", "masked"]

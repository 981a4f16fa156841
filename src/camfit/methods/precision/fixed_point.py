"""Fixed point. Mamalet, Roux, Garcia, Real-Time Video Convolutional Face Finder on Embedded Platforms, EURASIP Journal
on Embedded Systems 2007; Roux, Mamalet, Garcia, Embedded Convolutional Face Finder, ICME 2006 (NP5).
"""

from __future__ import annotations

from dataclasses import dataclass

from camfit.method import Calibration, Entry
from camfit.methods.precision.calibration import Rule
from camfit.methods.precision.int8 import Granularity, Int8
from camfit.network import Network
from camfit.plan import Plan

_NAME = "fixed-point"


@dataclass(frozen=True)
class FixedPoint:
    """Integers whose binary point has a place: every scale is a power of two, every bias a whole number of steps.

    The engine computes the network in products, sums and shifts of integers, and images of bytes enter it by a table.
    Arithmetic on such numbers is exact in float32 while sums stay below 2^24 steps, so the planned network in torch and
    the packed one on any processor give the same bits; means are rounded as the engine rounds them. Training on moves
    the biases off whole steps: they are rounded again when packed, which may turn a sum that lies on a half.

    Attributes:
        weights: one place of the point per output ``channel``, or per ``tensor``.
        weight_bits: 2 to 8.
        calibration: as in ``int8``.
        percentile: as in ``int8``.
        bias_correction: as in ``int8``; biases are rounded to whole steps after it.
        keep: layers that stay float, by path.
        images: calibration images to look at, at most.
    """

    weights: Granularity = "channel"
    weight_bits: int = 8
    calibration: Rule = "mse"
    percentile: float = 99.99
    bias_correction: bool = True
    keep: tuple[str, ...] = ()
    images: int = 128

    def __post_init__(self) -> None:
        self._integers()

    def plan(self, network: Network, calibration: Calibration) -> Plan:
        """As ``int8`` plans, with symmetric bytes.

        Raises:
            PlanError: no layer can take integer weights, or the network holds bytes already.
        """
        return self._integers().planned(network, calibration, _NAME)

    def _integers(self) -> Int8:
        return Int8(
            weights=self.weights,
            weight_bits=self.weight_bits,
            activations="symmetric",
            calibration=self.calibration,
            percentile=self.percentile,
            bias_correction=self.bias_correction,
            powers_of_two=True,
            keep=self.keep,
            images=self.images,
        )


ENTRY = Entry(
    row="NP5",
    name=_NAME,
    family="precision",
    paper="Mamalet, Roux, Garcia: Real-Time Video Convolutional Face Finder on Embedded Platforms. EURASIP Journal on "
    "Embedded Systems 2007.",
    options=FixedPoint,
)

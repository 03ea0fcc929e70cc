"""Exponential decay that gives the same bits on every machine.

Averages forget by forward decay (Cormode et al., "Forward Decay", ICDE 2009): an observation at time t
weighs 2^((t - landmark) / half-life), and one scalar scales all sums to the present. The powers come from
a table of 64 steps a half-life and exact shifts of the exponent, because `exp` differs between libms.
"""

from decimal import Decimal
from math import ldexp

STEPS = 64
_TABLE = tuple(float(Decimal(2) ** (Decimal(-step) / STEPS)) for step in range(STEPS))
_SMALLEST_EXPONENT = -1100


def half_power(steps: int) -> float:
    """Return 2^(-steps / 64); 0.0 when it is too small for a float."""
    exponent = -(steps >> 6)
    return ldexp(_TABLE[steps & 63], exponent) if exponent > _SMALLEST_EXPONENT else 0.0


def steps_between(earlier_us: int, later_us: int, half_life_us: int) -> int:
    """Count the steps of decay from one instant to another; negative if they are in reverse."""
    return (later_us - earlier_us) * STEPS // half_life_us

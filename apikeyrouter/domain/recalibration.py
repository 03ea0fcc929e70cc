"""Learning from one's own predictions: each account's parameters follow how its last slots came out.

Slots of 1/8 to 1 window are predicted when they begin and compared when they end. The persistence of
deviations follows by Gauss-Newton steps, the spread by regression of the squared errors, and the tails
by moving until a fifth of the outcomes lies outside the 80 % interval, half of it on either side.
"""

from math import sqrt
from typing import NamedTuple

import msgspec

from apikeyrouter.domain.exceedance import (
    FIRM,
    FLOATS,
    NEGLIGIBLE,
    Expectation,
    Prospect,
    exceedance,
    expectation,
)

WINDOWS_OF_LEVEL = (0.125, 0.25, 0.5, 1.0)
WEIGHT_OF_LEVEL = (0.35, 0.5, 0.7, 1.0)
"""Short slots end more often and say less about the horizons that matter."""
LEVELS = len(WINDOWS_OF_LEVEL)

FORGET = 0.995
"""What a comparison is worth after the next one."""
PRIOR_SLOPE = 0.08
PRIOR_WEIGHT = 3.0
PRIOR_CURVATURE = 3.0
SHORTEST_LASTS, LONGEST_LASTS = 1 / 64, 64.0
LEAST_SLOPE = 0.0001
LEAST_EXCESS = 0.3
LEAST_STRETCH, MOST_STRETCH = 0.4, 4.0
MOST_SHIFT = 1.0
OUTER = 0.1
"""Each side's share outside the 80 % interval."""
LEAST_PACE = 0.01
FIRST_PACE = 30.0
MOST_SURPRISE = 12.0
"""Squared errors above this many variances count as so many: one flood must not blur months."""


class Lessons(msgspec.Struct):
    """What has been learned of an account: five parameters, the excess of its noise, and the sums behind."""

    slope: float = PRIOR_SLOPE
    middle_lasts: float = 3.0
    short_lasts: float = 1.0
    stretch: float = 1.25
    shift: float = 0.0
    excess: float = 1.0
    """By how much noise surpasses that of independent requests."""
    comparisons: float = 0.0
    middle_curvature: float = 0.0
    short_curvature: float = 0.0
    noise_noise: float = 0.0
    noise_square: float = 0.0
    square_square: float = 0.0
    noise_error: float = 0.0
    square_error: float = 0.0


class Slot(NamedTuple):
    """A slot that ended: what was foreseen at its start, what came, and how much it counts."""

    level: int
    foreseen: Prospect[float]
    amount: float
    independent: float
    """Variance over mean if requests came independently: their mean square over their mean."""
    weight: float = 1.0


def learn(lessons: Lessons, slot: Slot) -> None:
    """Compare a slot with what was expected of it, and adjust."""
    if not slot.foreseen.long > 0.0:
        return
    expected = expectation(slot.foreseen, WINDOWS_OF_LEVEL[slot.level])
    weight = slot.weight * WEIGHT_OF_LEVEL[slot.level]
    variance = expected.amount * expected.dispersion + NEGLIGIBLE
    error = slot.amount - expected.amount
    _persistence(lessons, slot, expected, error, weight / variance)
    noise = slot.independent * expected.amount / variance
    square = expected.amount * expected.amount / variance
    _spread(lessons, noise, square, min(error * error / variance, MOST_SURPRISE), weight)
    lessons.comparisons += weight
    pace = max(LEAST_PACE, 1.0 / (lessons.comparisons + FIRST_PACE)) * weight
    _tails(lessons, exceedance(expected, slot.foreseen, slot.amount, FLOATS), pace)


def _persistence(
    lessons: Lessons, slot: Slot, expected: Expectation[float], error: float, precision: float
) -> None:
    """Move each persistence by a Gauss-Newton step in its logarithm."""
    seen, windows = slot.foreseen, WINDOWS_OF_LEVEL[slot.level]
    most = 3.0 * sqrt(expected.amount * expected.dispersion + NEGLIGIBLE)
    pull = min(max(error, -most), most) * precision
    middle = seen.pull * windows * expected.middle_share * (1.0 - expected.middle_share)
    fading = expected.short_share * (1.0 - expected.short_share / FIRM)
    short = seen.trust * (seen.short - expected.base_rate) * windows * fading
    lessons.middle_curvature = lessons.middle_curvature * FORGET + precision * middle * middle
    lessons.short_curvature = lessons.short_curvature * FORGET + precision * short * short
    lessons.middle_lasts = _stepped(lessons.middle_lasts, middle * pull, lessons.middle_curvature)
    lessons.short_lasts = _stepped(lessons.short_lasts, short * pull, lessons.short_curvature)


def _stepped(lasts: float, ascent: float, curvature: float) -> float:
    step = min(max(ascent / (curvature + PRIOR_CURVATURE), -0.3), 0.4)
    return min(max(lasts * (1.0 + step), SHORTEST_LASTS), LONGEST_LASTS)


def _spread(lessons: Lessons, noise: float, square: float, squared_error: float, weight: float) -> None:
    """Explain the squared errors by noise in proportion to demand, and by its square."""
    kept = 1.0 - (1.0 - FORGET) * weight
    lessons.noise_noise = lessons.noise_noise * kept + weight * noise * noise
    lessons.noise_square = lessons.noise_square * kept + weight * noise * square
    lessons.square_square = lessons.square_square * kept + weight * square * square
    lessons.noise_error = lessons.noise_error * kept + weight * noise * squared_error
    lessons.square_error = lessons.square_error * kept + weight * square * squared_error
    lessons.excess, lessons.slope = _solved(lessons)


def _solved(lessons: Lessons) -> tuple[float, float]:
    """Solve the normal equations, with the prior as observations, for an excess and a slope that can be."""
    noise_noise = lessons.noise_noise + PRIOR_WEIGHT
    square_square = lessons.square_square + PRIOR_WEIGHT / (PRIOR_SLOPE * PRIOR_SLOPE)
    noise_error = lessons.noise_error + PRIOR_WEIGHT
    square_error = lessons.square_error + PRIOR_WEIGHT / PRIOR_SLOPE
    across = lessons.noise_square
    determinant = noise_noise * square_square - across * across
    excess = (noise_error * square_square - square_error * across) / determinant
    slope = (square_error * noise_noise - noise_error * across) / determinant
    if slope < 0.0:
        excess, slope = noise_error / noise_noise, 0.0
    if excess < LEAST_EXCESS:
        excess, slope = LEAST_EXCESS, (square_error - LEAST_EXCESS * across) / square_square
    return excess, max(slope, LEAST_SLOPE)


def _tails(lessons: Lessons, probability: float, pace: float) -> None:
    """Move stretch and shift by where the outcome lay in what was predicted."""
    above, below = probability < OUTER, probability > 1.0 - OUTER
    stretch = lessons.stretch * (1.0 - pace * ((above or below) - 2.0 * OUTER))
    lessons.stretch = min(max(stretch, LEAST_STRETCH), MOST_STRETCH)
    lessons.shift = min(max(lessons.shift + pace * (above - below), -MOST_SHIFT), MOST_SHIFT)

"""The chance that demand passes a bound within a horizon: one formula for one account and for all at once.

Rates are per window and horizons in windows, so that a minute and a month are the same arithmetic. Only
+ - * / and square roots are used, and powers from a table, so that every machine finds the same bits.
"""

from collections.abc import Callable
from decimal import Decimal
from math import floor, ldexp, sqrt
from typing import Final, Generic, NamedTuple, TypeVar

import numpy as np

from apikeyrouter.domain.columns import Floats
from apikeyrouter.domain.decay import STEPS, half_power

Number = TypeVar("Number", float, Floats)

STEPS_A_WINDOW = 512
LONG_STEPS = 4096  # one half-life of the long average: 8 windows; middle and short: 1 window, 1/8 window
MOST_STEPS = 1000 * LONG_STEPS
SHORT_WEIGHT, MIDDLE_WEIGHT, LONG_WEIGHT = (half_life / 0.6931471805599453 for half_life in (0.125, 1.0, 8.0))
"""How much time an average of endless observation weighs, in windows: half-life / ln 2."""
DOUBT: Final = 0.125
"""How much of a deviation's expected noise is held against it; half of a quarter, for a mean of two rates."""
FIRM: Final = 8 / 9
"""The most that the short average may pull: above that the expectation might fall with the horizon."""
NEGLIGIBLE: Final = 1e-12
MOST_AMOUNT = 1e15
MOST_REMAINING = 1e18

_FINE = tuple(float(Decimal(2) ** (Decimal(-step) / LONG_STEPS)) for step in range(LONG_STEPS // STEPS))
_POWERS = tuple(half_power(coarse) * fine for coarse in range(STEPS) for fine in _FINE)
_POWER_COLUMN = np.array(_POWERS)


class Demand(NamedTuple, Generic[Number]):
    """What is kept of an account's demand; `silence` lines tell how far each average is from full weight."""

    step_us: Number
    last_step: Number
    short: Number
    middle: Number
    long: Number
    short_silence: Number
    middle_silence: Number
    long_silence: Number
    rest: Number
    """Time added to every average against the bias of counting from an event on."""
    noise: Number
    """Variance over mean of what does not last: sizes, and bursts shorter than any slot."""
    slope: Number
    """Variance relative to the squared mean of what does last."""
    middle_lasts: Number
    short_lasts: Number
    """How many windows a deviation of an average lasts."""
    stretch: Number
    shift: Number
    """The recalibration: by how much standardised room is stretched, then shifted."""
    size: Number
    """The mean amount."""


class Prospect(NamedTuple, Generic[Number]):
    """What an account's averages and lessons say at an instant, before any horizon is asked about."""

    long: Number
    pull: Number
    """The part of middle minus long that is more than noise."""
    short: Number
    trust: Number
    """The part of the short average's deviation that is more than noise."""
    noise: Number
    slope: Number
    middle_lasts: Number
    short_lasts: Number
    stretch: Number
    shift: Number
    size: Number


class Expectation(NamedTuple, Generic[Number]):
    """The demand expected within a horizon, and how it came about."""

    amount: Number
    dispersion: Number
    base_rate: Number
    middle_share: Number
    short_share: Number


class Arithmetic(NamedTuple, Generic[Number]):
    """The operations that numbers and columns write differently."""

    root: Callable[[Number], Number]
    least: Callable[[Number, float], Number]
    most: Callable[[Number, float], Number]
    smaller: Callable[[Number, Number], Number]
    floor: Callable[[Number], Number]
    power: Callable[[Number], Number]
    sure_if_overdrawn: Callable[[Number, Number], Number]


def power(steps: float) -> float:
    """Return what so many steps leave of the long average's sum."""
    whole = int(min(max(steps, 0.0), MOST_STEPS))
    return ldexp(_POWERS[whole & 4095], -(whole >> 12))


def _powers(steps: Floats) -> Floats:
    whole = np.minimum(np.maximum(steps, 0.0), MOST_STEPS).astype(np.int32)
    left: Floats = np.ldexp(_POWER_COLUMN.take(whole & 4095), -(whole >> 12))
    return left


def _sure_if_overdrawn(remaining: float, probability: float) -> float:
    return 1.0 if remaining < 0.0 else probability


def _sure_where_overdrawn(remaining: Floats, probability: Floats) -> Floats:
    return np.where(remaining < 0.0, 1.0, probability)


FLOATS: Arithmetic[float] = Arithmetic(sqrt, min, max, min, floor, power, _sure_if_overdrawn)
VECTORS: Arithmetic[Floats] = Arithmetic(
    np.sqrt, np.minimum, np.maximum, np.minimum, np.floor, _powers, _sure_where_overdrawn
)


def left_of_long(demand: Demand[Number], now_us: int, by: Arithmetic[Number]) -> Number:
    """Return what is left now of the long average's sum."""
    return by.power(by.floor(now_us / demand.step_us) - demand.last_step)


def eighth_power(base: Number) -> Number:
    """Return the factor of the next faster average: it forgets eight times as fast."""
    square = base * base
    fourth = square * square
    return fourth * fourth


def prospect(demand: Demand[Number], long_left: Number) -> Prospect[Number]:
    """Bring the averages to an instant, by what is left of the long one, and tell deviations from noise.

    A deviation d of a faster average counts with d^2 / (d^2 + its noise), so that a stop or a surge shows
    at once and the scatter of a steady stream does not.
    """
    middle_left = eighth_power(long_left)
    short_left = eighth_power(middle_left)
    long_time = LONG_WEIGHT + demand.rest + demand.long_silence * long_left
    middle_time = MIDDLE_WEIGHT + demand.rest + demand.middle_silence * middle_left
    short_time = SHORT_WEIGHT + demand.rest + demand.short_silence * short_left
    long = demand.long * long_left / long_time
    middle = demand.middle * middle_left / middle_time
    short = demand.short * short_left / short_time
    doubt = demand.noise * DOUBT
    gap = middle - long
    jump = short - middle
    real_gap, real_jump = gap * gap, jump * jump
    return Prospect(
        long=long,
        pull=gap * (real_gap / (real_gap + doubt * (middle + long) / middle_time + NEGLIGIBLE)),
        short=short,
        trust=real_jump / (real_jump + doubt * (short + middle) / short_time + NEGLIGIBLE),
        noise=demand.noise,
        # The Gamma-Poisson part: what is not known of the rate for want of observation.
        slope=demand.slope + demand.noise / (long * long_time + NEGLIGIBLE),
        middle_lasts=demand.middle_lasts,
        short_lasts=demand.short_lasts,
        stretch=demand.stretch,
        shift=demand.shift,
        size=demand.size,
    )


def expectation(seen: Prospect[Number], windows: Number) -> Expectation[Number]:
    """Return the demand expected within so many windows: deviations fade as lasts / (lasts + horizon).

    The amount and the dispersion never fall as the horizon grows.
    """
    middle_share = seen.middle_lasts / (windows + seen.middle_lasts)
    short_share = FIRM * seen.short_lasts / (windows + seen.short_lasts)
    base_rate = seen.long + middle_share * seen.pull
    amount = (base_rate + short_share * seen.trust * (seen.short - base_rate)) * windows
    return Expectation(amount, seen.noise + seen.slope * amount, base_rate, middle_share, short_share)


def exceedance(
    expected: Expectation[Number], seen: Prospect[Number], remaining: Number, by: Arithmetic[Number]
) -> Number:
    """Return the probability that demand passes what remains.

    The standardised room (r - m) / sqrt(r I) of the fatigue-life distribution (Birnbaum and Saunders, 1969:
    the time at which damage that adds up passes a bound) goes into the tail of Student's t with four degrees
    of freedom. It grows with r and falls with m, so the probability is monotone in room and horizon.
    Markov's inequality bounds it from above where next to nothing is expected. Where less than nothing
    remains, it is 1.
    """
    bounded = by.least(by.most(remaining, 0.0), MOST_REMAINING)
    room = bounded + 0.5 * seen.size
    spread = by.root(room * expected.dispersion + NEGLIGIBLE)
    standardised = (room - expected.amount) / spread * seen.stretch - seen.shift
    tail = student_tail(standardised, by)
    markov = expected.amount / (bounded + seen.size + NEGLIGIBLE)
    return by.sure_if_overdrawn(remaining, by.most(by.least(by.smaller(tail, markov), 1.0), 0.0))


def student_tail(deviation: Number, by: Arithmetic[Number]) -> Number:
    """Return P(T > deviation) for Student's t with four degrees of freedom."""
    bent = deviation / by.root(1.0 + 0.25 * deviation * deviation)
    return 0.5 - 0.375 * bent * (1.0 - bent * bent / 12.0)

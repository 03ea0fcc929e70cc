"""Foresee exhaustion: whether an account runs out before its window resets, when, and how sure that is."""

from enum import StrEnum
from typing import Any, NamedTuple

import msgspec
import numpy as np

from apikeyrouter.domain.columns import Floats
from apikeyrouter.domain.demand import FEWEST_REQUESTS, DemandColumns
from apikeyrouter.domain.exceedance import (
    VECTORS,
    Prospect,
    exceedance,
    expectation,
)

METHOD = "gamma-poisson, three decaying averages, recalibrated online (v1)"
CELLS = 64
"""Into how many equal parts the horizon is cut to find the times."""
EARLIEST, MEDIAN, LATEST = 0.1, 0.5, 0.9
FEWEST_COMPARISONS = 2.0
"""Below this, what is told is a bound and no estimate that was ever compared with what came."""


class Uncertainty(StrEnum):
    """What kind of knowledge a forecast is, from the surest to none."""

    Exact = "exact"
    Estimated = "estimated"
    Bounded = "bounded"
    Unknown = "unknown"


class CapacityState(StrEnum):
    """How an account stands."""

    Abundant = "abundant"
    Constrained = "constrained"
    Critical = "critical"
    Exhausted = "exhausted"
    Recovering = "recovering"


class Threshold(NamedTuple):
    """A state, the least probability of exhaustion that it takes, and why there."""

    state: CapacityState
    least_probability: float
    reason: str


THRESHOLDS = (
    Threshold(CapacityState.Exhausted, 1.0, "what was allowed is used: the next request would be refused"),
    Threshold(CapacityState.Critical, 0.5, "it is more likely than not to run out before the reset"),
    Threshold(CapacityState.Constrained, 0.1, "one window in ten like this one runs out: prefer others"),
    Threshold(CapacityState.Recovering, 0.0, "it ran out lately, and the demand that did it may come back"),
    Threshold(CapacityState.Abundant, 0.0, "fewer than one window in ten like this one runs out"),
)
"""Read from above, the first that fits; Exhausted takes use of the whole limit, not a probability."""


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What is foreseen for an account.

    The times are those at which it runs out *if* it does so before the horizon ends: the median, and an
    interval that holds four of five such cases. They are None where that has no chance.
    """

    probability: float
    exhausted_at_us: int | None
    earliest_us: int | None
    latest_us: int | None
    rate_per_s: float
    capacity_state: CapacityState
    uncertainty: Uncertainty
    method: str
    horizon_end_us: int


class Usage(NamedTuple):
    """How an account stands now: `resets_at_us` is None where the window rolls, and usage leaves as it ages.

    `known` tells how sure `used` itself is, such as exact from a provider's headers.
    """

    limit: float
    used: float
    resets_at_us: int | None
    known: Uncertainty = Uncertainty.Exact
    recovering: bool = False


def forecast(columns: DemandColumns, row: int, usage: Usage, now_us: int) -> Forecast:
    """Foresee an account's exhaustion.

    Of a rolling window, what was used is taken to leave evenly over one window: at a share s of it,
    demand so far must stay under limit - used + s * used. It runs out when that breaks first, so the
    probability is the greatest over the instants until then.
    """
    window_us = columns.window_us(row)
    end_us = now_us + window_us if usage.resets_at_us is None else max(usage.resets_at_us, now_us)
    if usage.used >= usage.limit:
        return _exhausted(columns, row, usage, now_us, end_us)
    course = _course(columns, row, usage, now_us, end_us)
    probability = float(course[-1])
    uncertainty = _uncertainty(columns, row, usage.known)
    seen = uncertainty is not Uncertainty.Bounded
    times = [
        _crossing(course, share * probability) * (end_us - now_us) for share in (EARLIEST, MEDIAN, LATEST)
    ]
    earliest, median, latest = (now_us + round(time) if probability > 0.0 else None for time in times)
    return Forecast(
        probability=probability,
        exhausted_at_us=median,
        earliest_us=earliest,
        latest_us=latest,
        rate_per_s=columns.rate_per_s(row, now_us),
        capacity_state=capacity_state(
            probability if seen else _used_share(usage), recovering=usage.recovering
        ),
        uncertainty=uncertainty,
        method=METHOD,
        horizon_end_us=end_us,
    )


def _used_share(usage: Usage) -> float:
    """Judge by use alone where too little demand was seen: half used is half a reason to worry."""
    return usage.used / usage.limit / 2


def capacity_state(probability: float, *, exhausted: bool = False, recovering: bool = False) -> CapacityState:
    """Return the first state of the table that fits."""
    for state, least_probability, _ in THRESHOLDS:
        if state is CapacityState.Exhausted:
            fits = exhausted
        elif state is CapacityState.Recovering:
            fits = recovering
        else:
            fits = probability >= least_probability
        if fits:
            return state
    return CapacityState.Abundant


def _exhausted(columns: DemandColumns, row: int, usage: Usage, now_us: int, end_us: int) -> Forecast:
    return Forecast(
        probability=1.0,
        exhausted_at_us=now_us,
        earliest_us=now_us,
        latest_us=now_us,
        rate_per_s=columns.rate_per_s(row, now_us),
        capacity_state=CapacityState.Exhausted,
        uncertainty=usage.known,
        method=METHOD,
        horizon_end_us=end_us,
    )


def _course(columns: DemandColumns, row: int, usage: Usage, now_us: int, end_us: int) -> Floats:
    """Return the probability of having run out by the end of each cell of the horizon."""
    seen: Prospect[Any] = columns.prospect(row, now_us)
    shares = _SHARES * ((end_us - now_us) / columns.window_us(row))
    back = usage.used * np.minimum(shares, 1.0) if usage.resets_at_us is None else 0.0
    remaining = usage.limit - usage.used + back + np.zeros(CELLS)
    course = exceedance(expectation(seen, shares), seen, remaining, VECTORS)
    return np.maximum.accumulate(course)


def _crossing(course: Floats, level: float) -> float:
    """Return the share of the horizon at which the probability reaches a level, straight between cells."""
    cell = min(int(np.searchsorted(course, level)), CELLS - 1)
    before = float(course[cell - 1]) if cell else 0.0
    rise = float(course[cell]) - before
    return (cell + ((level - before) / rise if rise > 0.0 else 1.0)) / CELLS


def _uncertainty(columns: DemandColumns, row: int, known: Uncertainty) -> Uncertainty:
    """Return the worse of what is known of the use and of the demand."""
    requests, comparisons = columns.experience(row)
    if requests == 0.0:
        demand = Uncertainty.Unknown
    elif requests < FEWEST_REQUESTS or comparisons < FEWEST_COMPARISONS:
        demand = Uncertainty.Bounded
    else:
        demand = Uncertainty.Estimated
    return max(known, demand, key=tuple(Uncertainty).index)


_SHARES = np.arange(1, CELLS + 1) / CELLS

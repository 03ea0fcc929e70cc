"""Score forecasts against what came: fold a series of demand, ask at many instants, compare.

Windows are fixed and follow each other from the first arrival on; only whole ones are scored. At load 1.2
the mean demand of a window is 1.2 times the limit. The naive rival is the straight line: what was used in
this window over the time since it began, extended; it says yes or no, and when.
"""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from apikeyrouter.domain.columns import Floats
from apikeyrouter.domain.demand import DemandColumns
from apikeyrouter.domain.forecasting import Usage, forecast
from apikeyrouter.domain.reliability import Scored

Instants = NDArray[np.int64]

LOADS = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3)
PLACES = (0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95)
"""At which shares of each window a forecast is asked for."""
MOST_WINDOWS = 240
"""Of more windows than these, so many are taken at even distances."""


class Series(NamedTuple):
    """When how much was asked for, in order of time."""

    at_us: Instants
    amounts: Floats


class Plan(NamedTuple):
    """What is asked of a series."""

    window_us: int
    loads: Sequence[float] = LOADS
    places: Sequence[float] = PLACES
    most_windows: int = MOST_WINDOWS


class Miss(NamedTuple):
    """By how much the time of an exhaustion was missed, in windows, and whether the interval held it."""

    forecast: float
    line: float
    line_until_reset: float
    inside: bool


class Case(NamedTuple):
    """One forecast, the straight line's, and what came; `miss` only where the limit was passed."""

    place: float
    probability: float
    line: float
    came_true: bool
    miss: Miss | None


class Summary(NamedTuple):
    """Scores of many cases; times in windows."""

    cases: int
    exhausted: int
    calibration_error: float | None
    line_calibration_error: float | None
    brier: float | None
    line_brier: float | None
    coverage: float | None
    time_error: float | None
    line_time_error: float | None
    line_time_error_until_reset: float | None


class _Moment(NamedTuple):
    """An instant in a window, with all limits asked about at once."""

    place: float
    now_us: int
    start_us: int
    end_us: int
    begun: float
    used: float
    ended: float


def backtest(series: Series, plan: Plan) -> list[Case]:
    """Return the cases of a series; none where not one window is whole."""
    starts_us = whole_windows(series, plan)
    if not starts_us:
        return []
    sums = np.concatenate([[0.0], np.cumsum(series.amounts)])
    columns = DemandColumns()
    row = columns.open(plan.window_us)
    limits = _limits(series, sums, plan)
    seen = 0
    cases: list[Case] = []
    for moment in _moments(series, sums, plan, starts_us):
        upto = int(np.searchsorted(series.at_us, moment.now_us, side="right"))
        for place in range(seen, upto):
            columns.observe(row, int(series.at_us[place]), float(series.amounts[place]))
        seen = upto
        left = (limit for limit in limits if moment.used <= limit)
        cases += [_case(columns, row, series, sums, moment, limit) for limit in left]
    return cases


def whole_windows(series: Series, plan: Plan) -> list[int]:
    """Return when the windows begin that are asked about."""
    if not len(series.at_us):
        return []
    first_us = int(series.at_us[0])
    count = (int(series.at_us[-1]) - first_us) // plan.window_us
    stride = max(1, -(-count // plan.most_windows))
    return [first_us + number * plan.window_us for number in range(0, count, stride)]


def summarise(cases: Iterable[Case]) -> Summary:
    """Return the scores of the cases."""
    told, line = Scored(), Scored()
    misses: list[Miss] = []
    for case in cases:
        told.add(case.probability, came_true=case.came_true)
        line.add(case.line, came_true=case.came_true)
        misses += [case.miss] if case.miss else []
    return Summary(
        cases=told.told,
        exhausted=told.came_true,
        calibration_error=told.calibration_error,
        line_calibration_error=line.calibration_error,
        brier=told.brier,
        line_brier=line.brier,
        coverage=sum(miss.inside for miss in misses) / len(misses) if misses else None,
        time_error=_median(miss.forecast for miss in misses),
        line_time_error=_median(miss.line for miss in misses),
        line_time_error_until_reset=_median(miss.line_until_reset for miss in misses),
    )


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return median(found) if found else None


def _limits(series: Series, sums: Floats, plan: Plan) -> list[float]:
    windows = (int(series.at_us[-1]) - int(series.at_us[0])) / plan.window_us
    return [float(sums[-1]) / windows / load for load in plan.loads]


def _moments(series: Series, sums: Floats, plan: Plan, starts_us: list[int]) -> Iterable[_Moment]:
    def asked_before(at_us: int, side: Literal["left", "right"] = "left") -> float:
        return float(sums[np.searchsorted(series.at_us, at_us, side=side)])

    for start_us in starts_us:
        end_us = start_us + plan.window_us
        begun, ended = asked_before(start_us), asked_before(end_us)
        for place in plan.places:
            now_us = start_us + int(plan.window_us * place)
            used = asked_before(now_us, "right") - begun
            yield _Moment(place, now_us, start_us, end_us, begun, used, ended)


def _case(
    columns: DemandColumns, row: int, series: Series, sums: Floats, moment: _Moment, limit: float
) -> Case:
    """Ask both for a forecast and compare them with what came."""
    told = forecast(columns, row, Usage(limit, moment.used, moment.end_us), moment.now_us)
    line_us = straight_line(moment.now_us, moment.start_us, moment.used, limit)
    came_true = moment.ended - moment.begun > limit
    miss = None
    if came_true:
        passed_us = float(series.at_us[np.searchsorted(sums, moment.begun + limit, side="right") - 1])
        window_us = moment.end_us - moment.start_us
        median_us = moment.end_us if told.exhausted_at_us is None else told.exhausted_at_us
        miss = Miss(
            abs(median_us - passed_us) / window_us,
            abs(line_us - passed_us) / window_us,
            abs(min(line_us, moment.end_us) - passed_us) / window_us,
            told.earliest_us is not None
            and told.latest_us is not None
            and told.earliest_us <= passed_us <= told.latest_us,
        )
    return Case(moment.place, told.probability, float(line_us < moment.end_us), came_true, miss)


def straight_line(now_us: int, start_us: int, used: float, limit: float) -> float:
    """Return when the limit is passed if the window goes on as it went; infinite where nothing was used."""
    elapsed_us = now_us - start_us
    return now_us + (limit - used) / used * elapsed_us if used > 0.0 else float("inf")

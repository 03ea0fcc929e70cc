"""Observed demand as columns, one row an account: a fold of who asked for how much when."""

from math import floor
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from apikeyrouter.domain.columns import FIRST_CAPACITY, Floats, Rows, Which
from apikeyrouter.domain.exceedance import (
    FLOATS,
    LONG_WEIGHT,
    MIDDLE_WEIGHT,
    MOST_AMOUNT,
    SHORT_WEIGHT,
    STEPS_A_WINDOW,
    VECTORS,
    Demand,
    Prospect,
    eighth_power,
    exceedance,
    expectation,
    left_of_long,
    power,
    prospect,
)
from apikeyrouter.domain.recalibration import LEVELS, Lessons, Slot, learn
from apikeyrouter.domain.windows import SECOND_US

STEPS_A_TICK = STEPS_A_WINDOW >> (LEVELS - 1)
PSEUDO_TIME = 1 / 256
"""Windows added to what was observed: a first burst of a millisecond is no rate."""
MOST_SILENT_WEIGHT = 8.0
FEW_ROWS = 8
"""Up to here Python's own floats are faster than arrays."""
ROLLING_HORIZONS = (1 / 16, 1 / 4, 1.0)
FEWEST_REQUESTS = 5.0
"""With fewer, what is told is a bound from a few observations: the first request of a life is no rate."""
INSTANT = 1e-6
STALE = -1.0


class Tally(NamedTuple):
    """What is counted of a row beside the averages; squares and requests are forgotten as the long one."""

    squares: float = 0.0
    requests: float = 0.0
    total: float = 0.0


class OpenSlot(NamedTuple):
    """A slot under way: what is foreseen for it, and the total when it began."""

    foreseen: Prospect[float]
    total: float


class Course(msgspec.Struct):
    """What only learning needs of a row: its lessons, the present tick, and the slots under way."""

    lessons: Lessons
    slots: list[OpenSlot]
    tick: int = -1


DEMAND_LINES = len(Demand._fields)
SIZE_LINE = Demand._fields.index("size")


class View(NamedTuple):
    """The first lines of a row's view, before those of its prospect: at which step that was drawn up."""

    step_us: float
    step: float = STALE


VIEW_LINES = len(View._fields)


class DemandColumns:
    """The demand of all accounts; rows are numbered from 0 and never reused.

    The views are drawn from the lines when they are read and kept until the row's next observation or
    step of decay; they hold nothing of their own.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.lines: Floats = np.zeros((DEMAND_LINES + len(Tally._fields), FIRST_CAPACITY))
        self.views: Floats = np.zeros((VIEW_LINES + len(Prospect._fields), FIRST_CAPACITY))
        self.courses: list[Course] = []

    def open(self, window_us: int) -> int:
        """Open a row for an account with this window and return its number."""
        if window_us <= 0:
            raise ValueError("a window must last")
        row = self.rows
        if row == self.lines.shape[1]:
            self.lines = np.concatenate([self.lines, np.zeros_like(self.lines)], axis=1)
            self.views = np.concatenate([self.views, np.zeros_like(self.views)], axis=1)
        step_us = window_us / STEPS_A_WINDOW
        self.lines[:, row] = (*_unobserved(step_us), *Tally())
        self.views[:VIEW_LINES, row] = View(step_us)
        self.courses.append(Course(Lessons(), []))
        self.rows = row + 1
        return row

    def observe(self, row: int, at_us: int, amount: float) -> None:
        """Add an amount that was asked for; an instant before the latest counts as the latest."""
        line = self.lines[:, row]
        values = line.tolist()
        demand, tally = Demand(*values[:DEMAND_LINES]), Tally(*values[DEMAND_LINES:])
        course = self.courses[row]
        step = float(floor(at_us / demand.step_us))
        if course.tick < 0:
            demand = demand._replace(last_step=step)
        step = max(step, demand.last_step)
        tick = int(step) // STEPS_A_TICK
        if tick != course.tick:
            demand = _turned(demand, tally, course, tick)
        known = min(amount, MOST_AMOUNT) if amount > 0.0 else 0.0
        line[:] = _with(demand, tally, course.lessons.excess, step, known)
        self.views[1, row] = STALE

    def window_us(self, row: int) -> int:
        """Return the window that the row was opened with."""
        return round(float(self.lines[0, row]) * STEPS_A_WINDOW)

    def prospect(self, row: int, now_us: int) -> Prospect[float]:
        """Return what is foreseen of one account now."""
        view = self.views[:, row].tolist()
        if floor(now_us / view[0]) != view[1]:
            return self._drawn(row, now_us)
        return Prospect(*view[VIEW_LINES:])

    def few_seen(self, count: int) -> NDArray[np.bool_]:
        """Tell of the first rows whether too few requests were seen for their forecasts to be acted on."""
        return np.asarray(self.lines[-2, :count] < FEWEST_REQUESTS)

    def usual_amounts(self, count: int) -> Floats:
        """Return the mean amount of each of the first rows; at least 1."""
        return np.maximum(self.lines[SIZE_LINE, :count], 1.0)

    def rate_per_s(self, row: int, now_us: int) -> float:
        """Return the rate expected for the next moment."""
        expected = expectation(self.prospect(row, now_us), INSTANT)
        return expected.amount / INSTANT / self.window_us(row) * SECOND_US

    def experience(self, row: int) -> tuple[float, float]:
        """Return how many requests are remembered, and how many slots were compared with what came."""
        tally = Tally(*self.lines[DEMAND_LINES:, row].tolist())
        return tally.requests, self.courses[row].lessons.comparisons

    def exhaustion(self, rows: Which, remaining: Floats, horizon_us: Floats, now_us: int) -> Floats:
        """Return for each row the probability that more than what remains is asked for within the horizon."""
        if len(remaining) <= FEW_ROWS:
            numbers = range(self.rows)[rows] if isinstance(rows, slice) else rows.tolist()
            each = zip(numbers, remaining.tolist(), horizon_us.tolist(), strict=True)
            return np.array([self._exhaustion(row, left, until_us, now_us) for row, left, until_us in each])
        views = self._views(rows, now_us)
        seen = Prospect(*views[VIEW_LINES:])
        windows = np.maximum(horizon_us, 0.0) / (views[0] * STEPS_A_WINDOW)
        return exceedance(expectation(seen, windows), seen, remaining, VECTORS)

    def rolling_exhaustion(self, rows: Which, limit: Floats, used: Floats, now_us: int) -> Floats:
        """Return the same for windows that roll: what was used leaves evenly as the window passes.

        The worst of three horizons counts, because room comes back while demand goes on.
        """
        windows_us = self.lines[0, : self.rows][rows] * STEPS_A_WINDOW
        worst = np.zeros(len(limit))
        for share in ROLLING_HORIZONS:
            room = limit - used * (1.0 - share)
            worst = np.maximum(worst, self.exhaustion(rows, room, windows_us * share, now_us))
        return np.where(used > limit, 1.0, worst)

    def _exhaustion(self, row: int, remaining: float, horizon_us: float, now_us: int) -> float:
        seen = self.prospect(row, now_us)
        windows = max(horizon_us, 0.0) / (float(self.views[0, row]) * STEPS_A_WINDOW)
        return exceedance(expectation(seen, windows), seen, remaining, FLOATS)

    def _views(self, rows: Which, now_us: int) -> Floats:
        """Return the rows' views, those that are stale drawn anew."""
        views = self._some(rows)
        stale = np.flatnonzero(np.floor(now_us / views[0]) != views[1])
        if not len(stale):
            return views
        numbers = np.arange(self.rows)[rows][stale]
        if len(numbers) <= FEW_ROWS:
            for row in numbers.tolist():
                self._drawn(row, now_us)
        else:
            self._drawn_together(numbers, now_us)
        return self._some(rows)

    def _some(self, rows: Which) -> Floats:
        opened = self.views[:, : self.rows]
        return opened[:, rows] if isinstance(rows, slice) else opened.take(rows, axis=1)

    def _drawn(self, row: int, now_us: int) -> Prospect[float]:
        demand = Demand(*self.lines[:DEMAND_LINES, row].tolist())
        seen = prospect(demand, left_of_long(demand, now_us, FLOATS))
        self.views[1:, row] = (float(floor(now_us / demand.step_us)), *seen)
        return seen

    def _drawn_together(self, rows: Rows, now_us: int) -> None:
        demand: Demand[Floats] = Demand(*tuple(self.lines[:DEMAND_LINES].take(rows, axis=1)))
        seen = prospect(demand, left_of_long(demand, now_us, VECTORS))
        self.views[1:, rows] = (np.floor(now_us / demand.step_us), *seen)


def _unobserved(step_us: float) -> Demand[float]:
    prior = Lessons()
    return Demand(
        step_us=step_us,
        last_step=0.0,
        short=0.0,
        middle=0.0,
        long=0.0,
        short_silence=-SHORT_WEIGHT,
        middle_silence=-MIDDLE_WEIGHT,
        long_silence=-LONG_WEIGHT,
        rest=PSEUDO_TIME,
        noise=0.0,
        slope=prior.slope,
        middle_lasts=prior.middle_lasts,
        short_lasts=prior.short_lasts,
        stretch=prior.stretch,
        shift=prior.shift,
        size=0.0,
    )


def _with(
    demand: Demand[float], tally: Tally, excess: float, step: float, amount: float
) -> tuple[float, ...]:
    """Return the row with one amount more: the lines of Demand, then those of Tally."""
    long_left = power(step - demand.last_step)
    middle_left = eighth_power(long_left)
    short_left = eighth_power(middle_left)
    long = demand.long * long_left + amount
    squares = tally.squares * long_left + amount * amount
    requests = tally.requests * long_left + 1.0
    long_silence = demand.long_silence * long_left
    return (
        demand.step_us,
        step,
        demand.short * short_left + amount,
        demand.middle * middle_left + amount,
        long,
        demand.short_silence * short_left,
        demand.middle_silence * middle_left,
        long_silence,
        PSEUDO_TIME + (LONG_WEIGHT + long_silence) / requests,
        excess * squares / long if long > 0.0 else 0.0,
        demand.slope,
        demand.middle_lasts,
        demand.short_lasts,
        demand.stretch,
        demand.shift,
        long / requests,
        squares,
        requests,
        tally.total + amount,
    )


def _turned(demand: Demand[float], tally: Tally, course: Course, tick: int) -> Demand[float]:
    """Close the slots that ended before this tick, learn from them, and begin those that now run."""
    lessons, before = course.lessons, course.tick
    levels = [level for level in range(LEVELS) if before >> level != tick >> level]
    if course.slots:
        for level in levels:
            for slot in _ended(demand, tally, course, level, tick):
                learn(lessons, slot)
        demand = demand._replace(
            slope=lessons.slope,
            middle_lasts=lessons.middle_lasts,
            short_lasts=lessons.short_lasts,
            stretch=lessons.stretch,
            shift=lessons.shift,
        )
    begun = [OpenSlot(_foreseen(demand, level, tick >> level), tally.total) for level in levels]
    course.slots[: len(begun)] = begun
    course.tick = tick
    return demand


def _ended(demand: Demand[float], tally: Tally, course: Course, level: int, tick: int) -> list[Slot]:
    """Return the slot under way and a sample of the silent ones after it, so that silence is learned too."""
    independent = tally.squares / demand.long if demand.long > 0.0 else 0.0
    under_way = course.slots[level]
    first = (course.tick >> level) + 1
    silent = (tick >> level) - first
    ended = [Slot(level, under_way.foreseen, tally.total - under_way.total, independent)]
    if silent >= 1:
        weight = min(float(silent), MOST_SILENT_WEIGHT)
        middle = _foreseen(demand, level, first + silent // 2)
        ended.append(Slot(level, middle, 0.0, independent, weight))
    return ended


def _foreseen(demand: Demand[float], level: int, slot: int) -> Prospect[float]:
    """Return the prospect at the beginning of a slot."""
    return prospect(demand, power((slot << level) * STEPS_A_TICK - demand.last_step))

"""What the decision reads of every key, as columns: one array a fact, one row a key.

Rows are never removed, so a row number names a key for ever. Only the fold writes here.
"""

import numpy as np
from numpy.typing import NDArray

from apikeyrouter.domain.decay import STEPS, half_power, steps_between
from apikeyrouter.domain.events import EventRef
from apikeyrouter.domain.models.api_key import ELIGIBLE_STATES, KeyState

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
Which = Rows | slice

lowest = np.minimum.reduce
highest = np.maximum.reduce
"""Least and greatest of an array, without what the methods of arrays add for other cases."""

LOAD_HALF_LIFE_US = 60_000_000
OUTCOME_HALF_LIFE_US = 600_000_000
REBASE_HALF_LIVES = 256
FIRST_CAPACITY = 16
KEY_STATES = tuple(KeyState)
REVOKED = KEY_STATES.index(KeyState.Revoked)

DISPATCHED = 0
SUCCEEDED, FAILED, FIRST_BYTE_US = range(3)
"""The lines of the decayed sums."""


class DecayedColumns:
    """Sums that forget, one line a kind: all share a landmark, so the present is one multiplication away."""

    def __init__(self, half_life_us: int, kinds: int, capacity: int) -> None:
        self.half_life_us = half_life_us
        self.landmark_us = 0
        self.sums: Floats = np.zeros((kinds, capacity))

    def weight(self, at_us: int) -> float:
        """Return what an observation at this instant adds, moving the landmark when numbers grow large."""
        steps = steps_between(self.landmark_us, at_us, self.half_life_us)
        if steps > REBASE_HALF_LIVES * STEPS:
            steps -= self._rebase(steps)
        return half_power(-steps)

    def scale(self, now_us: int) -> float:
        """Return the factor that brings the sums to the present."""
        return half_power(steps_between(self.landmark_us, now_us, self.half_life_us))

    def _rebase(self, steps: int) -> int:
        half_lives = steps // STEPS
        self.sums = np.ldexp(self.sums, -half_lives)
        self.landmark_us += half_lives * self.half_life_us
        return half_lives * STEPS


class KeyColumns:
    """The columns themselves, and beside them the events that last changed each fact."""

    def __init__(self) -> None:
        self.count = 0
        self.available = np.zeros(FIRST_CAPACITY, dtype=np.bool_)
        self.reachable = np.zeros(FIRST_CAPACITY, dtype=np.bool_)
        self.on_trial = np.zeros(FIRST_CAPACITY, dtype=np.bool_)
        self.trials = 0
        self.all_fit = True
        self.state_code = np.zeros(FIRST_CAPACITY, dtype=np.int8)
        self.weight = np.ones(FIRST_CAPACITY)
        self.in_flight = np.zeros(FIRST_CAPACITY)
        self.most_in_flight = np.full(FIRST_CAPACITY, np.inf)
        self.load = DecayedColumns(LOAD_HALF_LIFE_US, 1, FIRST_CAPACITY)
        self.outcomes = DecayedColumns(OUTCOME_HALF_LIFE_US, 3, FIRST_CAPACITY)
        self.state_ref: list[EventRef] = []
        self.load_ref: list[EventRef | None] = []
        self.outcome_ref: list[EventRef | None] = []

    def add(self, weight: float, ref: EventRef) -> int:
        """Open a row for a new key and return its number."""
        row = self.count
        if row == len(self.available):
            self._grow()
        self.count = row + 1
        self.available[row] = self.reachable[row] = True
        self.weight[row] = weight
        self.state_ref.append(ref)
        self.load_ref.append(None)
        self.outcome_ref.append(None)
        return row

    def set_state(self, row: int, key_state: KeyState, ref: EventRef) -> None:
        """Remember the state of a key and the event that put it there."""
        self.state_code[row] = KEY_STATES.index(key_state)
        self.available[row] = key_state in ELIGIBLE_STATES
        self._set_all_fit()
        self.state_ref[row] = ref

    def set_reachable(self, rows: list[int], *, reachable: bool) -> None:
        """Remember whether the provider of some keys can be reached."""
        self.reachable[rows] = reachable
        self._set_all_fit()

    def set_trial(self, row: int, *, on_trial: bool) -> None:
        """Remember whether a key must prove itself by one request before it gets many."""
        self.trials += int(on_trial) - int(self.on_trial[row])
        self.on_trial[row] = on_trial

    def dispatch(self, row: int, at_us: int, ref: EventRef) -> None:
        """Count a request on its way to this key."""
        self.in_flight[row] += 1.0
        weight = self.load.weight(at_us)
        self.load.sums[DISPATCHED, row] += weight
        self.load_ref[row] = ref

    def finish(self, row: int, ref: EventRef) -> None:
        """Count one request less in flight."""
        self.in_flight[row] -= 1.0
        self.load_ref[row] = ref

    def succeed(self, row: int, at_us: int, first_byte_us: int, ref: EventRef) -> None:
        """Remember a success and how fast it was."""
        weight = self.outcomes.weight(at_us)
        self.outcomes.sums[SUCCEEDED, row] += weight
        self.outcomes.sums[FIRST_BYTE_US, row] += weight * first_byte_us
        self.outcome_ref[row] = ref

    def fail(self, row: int, at_us: int, ref: EventRef) -> None:
        """Remember a failure that was not the request's own fault."""
        weight = self.outcomes.weight(at_us)
        self.outcomes.sums[FAILED, row] += weight
        self.outcome_ref[row] = ref

    def _set_all_fit(self) -> None:
        """See whether a state keeps any key back, so that no decision has to; revoked ones are in no pool."""
        fit = (self.available & self.reachable) | (self.state_code == REVOKED)
        self.all_fit = bool(fit[: self.count].all())

    def _grow(self) -> None:
        extra = len(self.available)
        self.available = np.concatenate([self.available, np.zeros(extra, dtype=np.bool_)])
        self.reachable = np.concatenate([self.reachable, np.zeros(extra, dtype=np.bool_)])
        self.on_trial = np.concatenate([self.on_trial, np.zeros(extra, dtype=np.bool_)])
        self.state_code = np.concatenate([self.state_code, np.zeros(extra, dtype=np.int8)])
        self.weight = np.concatenate([self.weight, np.ones(extra)])
        self.in_flight = np.concatenate([self.in_flight, np.zeros(extra)])
        self.most_in_flight = np.concatenate([self.most_in_flight, np.full(extra, np.inf)])
        for decayed in (self.load, self.outcomes):
            decayed.sums = np.concatenate([decayed.sums, np.zeros((len(decayed.sums), extra))], axis=1)

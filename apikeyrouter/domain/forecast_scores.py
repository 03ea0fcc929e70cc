"""What became of forecasts: each account keeps one at a time, until its horizon is over or it ran out.

A forecast that said p is wrong by the square of what is missing to 1 if the account ran out, else of p.
"""

import numpy as np
from numpy.typing import NDArray

from apikeyrouter.domain.columns import FIRST_CAPACITY, Floats
from apikeyrouter.domain.reliability import Scored

SHORTEST_HORIZON_US = 1_000_000
"""Nothing is foreseen for less: the next request decides that."""

Instants = NDArray[np.int64]
Mask = NDArray[np.bool_]


class ForecastScores:
    """One row an account, and the score of all together."""

    def __init__(self) -> None:
        self.overall = Scored()
        self._told: Floats = np.zeros(FIRST_CAPACITY)
        self._until_us: Instants = np.zeros(FIRST_CAPACITY, dtype=np.int64)
        self._count: Instants = np.zeros(FIRST_CAPACITY, dtype=np.int64)
        self._squared_error: Floats = np.zeros(FIRST_CAPACITY)

    def compare(
        self, now_us: int, told: Floats, until_us: Instants, has_run_out: Mask, can_tell: Mask
    ) -> None:
        """Score the forecasts whose time is over, and keep today's where none is kept.

        `has_run_out` says of each account whether the next usual request does not fit any more.
        """
        count = len(told)
        while count > len(self._told):
            self._widen()
        kept = self._until_us[:count] > 0
        over = kept & (has_run_out | (self._until_us[:count] <= now_us))
        for row in np.flatnonzero(over).tolist():
            self._score(row, came_true=bool(has_run_out[row]))
        self._until_us[:count][over] = 0
        begin = can_tell & ~has_run_out & (self._until_us[:count] == 0)
        begin &= until_us - now_us >= SHORTEST_HORIZON_US
        self._told[:count][begin] = told[begin]
        self._until_us[:count][begin] = until_us[begin]

    def of(self, row: int) -> tuple[int, float | None]:
        """Return how many forecasts of an account were scored, and their Brier score."""
        if row >= len(self._count) or not self._count[row]:
            return 0, None
        return int(self._count[row]), float(self._squared_error[row] / self._count[row])

    def _score(self, row: int, *, came_true: bool) -> None:
        probability = float(self._told[row])
        self.overall.add(probability, came_true=came_true)
        self._count[row] += 1
        self._squared_error[row] += (probability - came_true) * (probability - came_true)

    def _widen(self) -> None:
        extra = len(self._told)
        none = np.zeros(extra, dtype=np.int64)
        self._told = np.concatenate([self._told, np.zeros(extra)])
        self._until_us = np.concatenate([self._until_us, none])
        self._count = np.concatenate([self._count, none])
        self._squared_error = np.concatenate([self._squared_error, np.zeros(extra)])

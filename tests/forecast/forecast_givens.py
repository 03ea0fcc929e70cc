"""Streams of demand for tests of forecasts."""

import random

import numpy as np

from apikeyrouter.domain.demand import DemandColumns

START_US = 1_700_000_000_000_000
MINUTE_US = 60_000_000
SECOND_US = 1_000_000


def observed(*streams: list[tuple[int, float]], window_us: int = MINUTE_US) -> DemandColumns:
    """Return columns with one row a stream."""
    columns = DemandColumns()
    for stream in streams:
        row = columns.open(window_us)
        for at_us, amount in stream:
            columns.observe(row, at_us, amount)
    return columns


def steady(per_s: float, seconds: float, *, seed: int = 1, amount: float = 1.0) -> list[tuple[int, float]]:
    """Return a Poisson stream."""
    dice, at_s, stream = random.Random(seed), 0.0, []  # noqa: S311 - repeatable chance, no secret
    while (at_s := at_s + dice.expovariate(per_s)) < seconds:
        stream.append((START_US + round(at_s * SECOND_US), amount))
    return stream


def chance(columns: DemandColumns, remaining: float, horizon_us: float, now_us: int, row: int = 0) -> float:
    """Return one row's probability of exhaustion."""
    return float(
        columns.exhaustion(
            np.array([row]), np.array([float(remaining)]), np.array([float(horizon_us)]), now_us
        )[0]
    )

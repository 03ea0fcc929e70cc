"""What became of forecasts, by their account and all together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import SECOND_US, START_US

from apikeyrouter.domain.forecast_scores import SHORTEST_HORIZON_US, ForecastScores

MINUTE_US = 60 * SECOND_US


def compare(
    scores: ForecastScores, now_us: int, told: float, *, out: bool = False, knows: bool = True
) -> None:
    one = np.array([told])
    scores.compare(now_us, one, np.array([now_us + MINUTE_US]), np.array([out]), np.array([knows]))


def test_a_forecast_is_scored_when_its_horizon_is_over():
    """Until then nothing is known; then it was wrong by all that it said."""
    scores = ForecastScores()
    compare(scores, START_US, 0.2)
    compare(scores, START_US + MINUTE_US - 1, 0.9)
    assert scores.of(0) == (0, None)
    compare(scores, START_US + MINUTE_US, 0.9)
    assert scores.of(0) == (1, pytest.approx(0.04))
    assert scores.overall.came_true == 0


def test_running_out_ends_a_forecast_at_once():
    """What came true need not wait for the end of the horizon."""
    scores = ForecastScores()
    compare(scores, START_US, 0.9)
    compare(scores, START_US + SECOND_US, 0.9, out=True)
    assert scores.of(0) == (1, pytest.approx(0.01))
    assert scores.overall.came_true == 1


def test_what_has_run_out_already_is_no_forecast():
    """Nothing is foretold of what is there: the next forecast begins when there is room again."""
    scores = ForecastScores()
    for second in range(3):
        compare(scores, START_US + second * SECOND_US, 1.0, out=True)
    assert scores.of(0) == (0, None)


def test_where_too_little_was_seen_nothing_is_told():
    """A forecast that nobody acts on is not scored."""
    scores = ForecastScores()
    compare(scores, START_US, 0.5, knows=False)
    compare(scores, START_US + 2 * MINUTE_US, 0.5, knows=False)
    assert scores.overall.told == 0


def test_a_horizon_that_is_all_but_over_is_not_scored():
    """A second before the reset there is nothing to foresee."""
    scores = ForecastScores()
    one = np.array([0.5])
    until_us = np.array([START_US + SHORTEST_HORIZON_US - 1])
    scores.compare(START_US, one, until_us, np.array([False]), np.array([True]))
    compare(scores, START_US + MINUTE_US, 0.5)
    assert scores.overall.told == 0


@given(st.lists(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=3, max_size=3), max_size=40))
def test_the_accounts_make_up_the_whole(steps):
    """Every scored forecast counts once, with its account and in the overall score."""
    scores = ForecastScores()
    for number, step in enumerate(steps):
        now_us = START_US + number * 25 * SECOND_US
        told, out = np.array([each[0] for each in step]), np.array([each[1] for each in step])
        scores.compare(now_us, told, np.full(3, now_us + MINUTE_US), out, np.array([True, True, False]))
    of_each = [scores.of(row) for row in range(3)]
    assert scores.overall.told == sum(count for count, _ in of_each)
    assert of_each[2] == (0, None)
    squared = sum(count * brier for count, brier in of_each if brier is not None)
    assert scores.overall.squared_error == pytest.approx(squared)


def test_more_accounts_than_there_was_room_for():
    """Rows are added as accounts are opened."""
    scores = ForecastScores()
    count = 100
    for now_us in (START_US, START_US + MINUTE_US):
        scores.compare(
            now_us,
            np.full(count, 0.5),
            np.full(count, now_us + MINUTE_US),
            np.zeros(count, dtype=np.bool_),
            np.ones(count, dtype=np.bool_),
        )
    assert scores.of(count - 1) == (1, 0.25)

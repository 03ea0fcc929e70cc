"""Scores of probabilities."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apikeyrouter.domain.reliability import BINS, Scored

PAIRS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50)


def scored(pairs) -> Scored:
    score = Scored()
    for probability, came_true in pairs:
        score.add(probability, came_true=came_true)
    return score


def test_nothing_told():
    """Before the first there is no score, and it is not zero."""
    assert (Scored().told, Scored().brier, Scored().calibration_error) == (0, None, None)


def test_what_is_perfect():
    """Who is sure and right has no error."""
    score = scored([(1.0, True), (0.0, False)] * 5)
    assert (score.told, score.came_true, score.brier, score.calibration_error) == (10, 5, 0.0, 0.0)


def test_by_hand():
    """Two tenths, weighted by how often each was told."""
    score = scored([(0.2, False), (0.2, True), (0.9, True)])
    assert score.brier == pytest.approx((0.04 + 0.64 + 0.01) / 3)
    assert score.calibration_error == pytest.approx((abs(0.4 - 1) + abs(0.9 - 1)) / 3)


@given(PAIRS)
def test_bounds(pairs):
    """Both errors lie between 0 and 1, and every pair lies in one tenth."""
    score = scored(pairs)
    assert 0.0 <= score.brier <= 1.0
    assert -1e-12 <= score.calibration_error <= 1.0 + 1e-12
    assert (score.told, len(score.bins)) == (len(pairs), BINS)


@given(PAIRS)
def test_it_can_be_kept(pairs):
    """A score survives being written and read."""
    score = scored(pairs)
    assert msgspec.json.decode(msgspec.json.encode(score), type=Scored) == score

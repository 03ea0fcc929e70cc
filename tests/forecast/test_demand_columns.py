"""Columns of demand: probabilities that are probabilities, whatever was observed."""

import numpy as np
import pytest
from forecast_givens import MINUTE_US, START_US, chance, observed, steady
from hypothesis import given, settings
from hypothesis import strategies as st

from apikeyrouter.domain.columns import FIRST_CAPACITY
from apikeyrouter.domain.demand import FEW_ROWS, DemandColumns
from apikeyrouter.domain.exceedance import FLOATS, MOST_AMOUNT, student_tail

GAPS_US = st.one_of(
    st.integers(-1000, 1000), st.integers(0, 10**7), st.integers(0, 10**9), st.integers(0, 10**15)
)
AMOUNTS = st.one_of(
    st.just(1.0), st.floats(0, 10**6), st.floats(allow_nan=True, allow_infinity=True), st.floats(0, 1e-300)
)
STEPS = st.lists(st.tuples(GAPS_US, AMOUNTS), max_size=60)
WINDOWS_US = st.sampled_from([1, 1000, 1_000_000, MINUTE_US, 3600 * 10**6, 31 * 86_400 * 10**6])
ROOM = st.one_of(st.integers(0, 2000), st.floats(-(10**6), 1e18), st.just(float("inf")))
HORIZONS_US = st.one_of(st.floats(0, 10**9), st.floats(0, 1e16))
ROUNDING = 1e-12


def stream(steps) -> list[tuple[int, float]]:
    at_us, made = START_US, []
    for gap_us, amount in steps:
        at_us = max(at_us + gap_us, 0)
        made.append((at_us, amount))
    return made


def latest_us(made) -> int:
    return max((at_us for at_us, _ in made), default=START_US)


class TestWhateverWasObserved:
    @given(STEPS, WINDOWS_US, ROOM, HORIZONS_US, st.integers(0, 10**13))
    def test_probability(self, steps, window_us, room, horizon_us, later_us):
        """The probability lies in [0, 1] and is never NaN."""
        made = stream(steps)
        columns = observed(made, window_us=window_us)
        assert 0.0 <= chance(columns, room, horizon_us, latest_us(made) + later_us) <= 1.0
        assert np.isfinite(columns.lines).all()

    @given(STEPS, WINDOWS_US, ROOM, ROOM, HORIZONS_US)
    def test_more_room(self, steps, window_us, one, other, horizon_us):
        """More room never makes exhaustion more probable."""
        made = stream(steps)
        columns = observed(made, window_us=window_us)
        less, more = (
            chance(columns, room, horizon_us, latest_us(made)) for room in sorted((float(one), float(other)))
        )
        assert more <= less + ROUNDING

    @given(STEPS, WINDOWS_US, ROOM, HORIZONS_US, HORIZONS_US)
    def test_longer_horizon(self, steps, window_us, room, one, other):
        """A longer horizon never makes exhaustion less probable."""
        made = stream(steps)
        columns = observed(made, window_us=window_us)
        sooner, later = (
            chance(columns, room, horizon_us, latest_us(made)) for horizon_us in sorted((one, other))
        )
        assert sooner <= later + ROUNDING

    @given(STEPS, WINDOWS_US)
    def test_the_same_bits(self, steps, window_us):
        """Two folds of the same observations are the same, bit for bit."""
        made = stream(steps)
        one, other = (observed(made, window_us=window_us) for _ in range(2))
        assert one.lines.tobytes() == other.lines.tobytes()
        assert one.courses == other.courses

    @given(STEPS, WINDOWS_US, st.lists(st.integers(0, 10**10), max_size=5))
    def test_reading_changes_nothing(self, steps, window_us, delays_us):
        """Looking at a forecast leaves no trace in the fold, and no later answer depends on it."""
        made = stream(steps)
        read, unread = (observed(made, window_us=window_us) for _ in range(2))
        for delay_us in delays_us:
            chance(read, 10.0, MINUTE_US, latest_us(made) + delay_us)
        assert read.lines.tobytes() == unread.lines.tobytes()
        at_us = latest_us(made) + 1
        assert chance(read, 10.0, MINUTE_US, at_us) == chance(unread, 10.0, MINUTE_US, at_us)

    @settings(max_examples=25)
    @given(STEPS, st.lists(st.tuples(st.integers(0, 500), HORIZONS_US), min_size=20, max_size=20))
    def test_few_and_many(self, steps, asked):
        """Few rows are computed with Python's floats and many with arrays: the bits are the same."""
        made = stream(steps)
        columns = observed(*([made[: len(made) * part // 20] for part in range(20)]))
        rows = np.arange(20)
        room, horizons_us = np.array(asked, dtype=float).T
        now_us = latest_us(made)
        together = columns.exhaustion(rows, room, horizons_us, now_us)
        alone = [chance(columns, room[row], horizons_us[row], now_us, row) for row in rows]
        assert len(rows) > FEW_ROWS
        assert together.tolist() == alone
        assert columns.exhaustion(slice(0, 20), room, horizons_us, now_us).tolist() == alone


class TestStops:
    @given(st.floats(0.05, 50), st.integers(1, 100))
    @settings(max_examples=30)
    def test_a_stop_shows(self, per_s, seed):
        """When nothing more is asked for, the probability falls towards 0 without any new event."""
        made = steady(per_s, min(600.0, 4000 / per_s), seed=seed)
        columns = observed(made)
        now_us = latest_us(made)
        room = per_s * 60 * 0.8
        told = [chance(columns, room, MINUTE_US, now_us + minutes * MINUTE_US) for minutes in (0, 2, 20, 400)]
        assert told == sorted(told, reverse=True)
        assert told[-1] < 1e-6

    def test_a_stop_shows_soon(self):
        """A stream that surely would run out is not expected to any more after a window of silence."""
        made = steady(5.0, 600.0)
        columns = observed(made)
        assert chance(columns, 200.0, MINUTE_US, latest_us(made)) > 0.95
        assert chance(columns, 200.0, MINUTE_US, latest_us(made) + MINUTE_US) < 0.1


class TestRows:
    def test_growth(self):
        """Rows beyond the first capacity keep those before, and numbers go on."""
        made = steady(2.0, 120.0)
        columns = observed(made)
        before = chance(columns, 100.0, MINUTE_US, latest_us(made))
        opened = [columns.open(MINUTE_US) for _ in range(FIRST_CAPACITY * 2)]
        assert opened == list(range(1, FIRST_CAPACITY * 2 + 1))
        assert chance(columns, 100.0, MINUTE_US, latest_us(made)) == before

    def test_rows_are_apart(self):
        """What one account is asked for changes nothing for another."""
        made = steady(2.0, 120.0)
        alone, beside = observed(made), observed(made, steady(40.0, 120.0, seed=2))
        assert alone.lines[:, 0].tobytes() == beside.lines[:, 0].tobytes()

    def test_an_observation_shows_at_once(self):
        """A view that was drawn before an observation is not used after it."""
        columns = observed([(START_US, 1.0)])
        before = chance(columns, 5.0, MINUTE_US, START_US + 1)
        for _ in range(10):
            columns.observe(0, START_US + 1, 1.0)
        assert chance(columns, 5.0, MINUTE_US, START_US + 1) > before

    def test_an_unobserved_row(self):
        """An account that nobody asked for anything does not run out."""
        assert chance(observed([]), 0.0, MINUTE_US, START_US) == 0.0

    def test_overdrawn(self):
        """Where less than nothing remains, exhaustion is sure, in few rows and in many."""
        columns = observed(*[[] for _ in range(20)])
        room, horizons_us = np.full(20, -1.0), np.zeros(20)
        assert chance(columns, -1.0, 0.0, START_US) == 1.0
        assert columns.exhaustion(np.arange(20), room, horizons_us, START_US).tolist() == [1.0] * 20

    def test_a_window_must_last(self):
        """A window of no length is refused."""
        with pytest.raises(ValueError, match="last"):
            DemandColumns().open(0)

    @pytest.mark.parametrize("amount", [float("nan"), float("-inf"), -5.0])
    def test_amounts_that_are_none(self, amount):
        """What is no amount counts as a request for nothing."""
        columns = observed([(START_US, amount), (START_US + 1, 3.0)])
        assert columns.prospect(0, START_US + 1).size == 1.5

    def test_the_largest_amount(self):
        """An amount beyond all bounds counts as the bound."""
        assert observed([(START_US, float("inf"))]).prospect(0, START_US).size == MOST_AMOUNT

    def test_times_that_go_backwards(self):
        """An instant before the latest counts as the latest."""
        forth = observed([(START_US, 1.0), (START_US + MINUTE_US, 1.0), (START_US + MINUTE_US, 1.0)])
        back = observed([(START_US, 1.0), (START_US + MINUTE_US, 1.0), (START_US + MINUTE_US - 9, 1.0)])
        assert forth.lines.tobytes() == back.lines.tobytes()


class TestLearning:
    def test_a_steady_rate_is_found(self):
        """The rate of a steady stream is found within a tenth."""
        made = steady(5.0, 1800.0)
        assert observed(made).rate_per_s(0, latest_us(made)) == pytest.approx(5.0, rel=0.1)

    def test_bursts_widen(self):
        """Of two streams of the same mean, the one that comes in clumps is foreseen with more doubt."""
        even = [(START_US + second * 10**6, 1.0) for second in range(1800)]
        clumps = [(START_US + second // 40 * 40 * 10**6, 1.0) for second in range(1800)]
        now_us = START_US + 1800 * 10**6
        assert chance(observed(even), 90.0, MINUTE_US, now_us) < 0.01
        assert chance(observed(clumps), 90.0, MINUTE_US, now_us) > 0.03

    def test_sizes_widen(self):
        """Of two streams of the same mean amount, the one of unequal sizes is foreseen with more doubt."""
        equal = steady(1.0, 1800.0, amount=10.0)
        unequal = [(at_us, 91.0 if place % 10 == 0 else 1.0) for place, (at_us, _) in enumerate(equal)]
        now_us = latest_us(equal)
        assert chance(observed(unequal), 900.0, MINUTE_US, now_us) > chance(
            observed(equal), 900.0, MINUTE_US, now_us
        )

    def test_silence_is_learned(self):
        """Slots without a request are compared too, although no event tells of them."""
        columns = observed([(START_US, 1.0), (START_US + 10 * MINUTE_US, 1.0)])
        assert columns.experience(0)[1] > 0.0


class TestRolling:
    def test_room_comes_back(self):
        """A rolling window runs out less probably than one that holds all use until the end."""
        made = steady(1.0, 600.0)
        columns, row = observed(made), np.array([0])
        limit, used = np.array([70.0]), np.array([60.0])
        rolling = columns.rolling_exhaustion(row, limit, used, latest_us(made))[0]
        assert rolling < chance(columns, 10.0, MINUTE_US, latest_us(made))
        assert rolling > 0.1

    def test_overdrawn_rolling(self):
        """Where more than the limit is used, a rolling window has run out."""
        columns = observed([])
        assert columns.rolling_exhaustion(np.array([0]), np.array([1.0]), np.array([2.0]), START_US)[0] == 1.0


@given(st.floats(-1e6, 1e6))
def test_the_tail_is_symmetric(deviation):
    """The tails on both sides add up to one."""
    assert student_tail(deviation, FLOATS) + student_tail(-deviation, FLOATS) == pytest.approx(1.0)


def test_the_tail_is_students():
    """The tail has the tabulated values of Student's t with four degrees of freedom."""
    assert student_tail(1.533206, FLOATS) == pytest.approx(0.1, abs=1e-6)
    assert student_tail(2.776445, FLOATS) == pytest.approx(0.025, abs=1e-6)

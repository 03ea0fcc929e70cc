"""Forecasts: times inside their interval, states from one table, and kinds of uncertainty."""

import pytest
from forecast_givens import MINUTE_US, SECOND_US, START_US, chance, observed, steady
from hypothesis import given
from hypothesis import strategies as st

from apikeyrouter.domain.forecasting import (
    THRESHOLDS,
    CapacityState,
    Uncertainty,
    Usage,
    capacity_state,
    forecast,
)

STREAM = steady(5.0, 900.0)
NOW_US = STREAM[-1][0]
RESET_US = NOW_US + 40 * SECOND_US


@pytest.fixture(scope="module")
def columns():
    return observed(STREAM)


class TestFixedWindows:
    def test_the_decisions_number(self, columns):
        """The forecast's probability is the one that decisions use, to the bit."""
        told = forecast(columns, 0, Usage(400, 200, RESET_US), NOW_US)
        assert told.probability == chance(columns, 200, 40 * SECOND_US, NOW_US)

    def test_when(self, columns):
        """Fifty requests at five a second last ten seconds."""
        told = forecast(columns, 0, Usage(250, 200, RESET_US), NOW_US)
        assert told.probability > 0.99
        assert (told.exhausted_at_us - NOW_US) / SECOND_US == pytest.approx(10, rel=0.2)
        assert told.horizon_end_us == RESET_US
        assert told.rate_per_s == pytest.approx(5, rel=0.3)

    @given(limit=st.floats(0, 1000), used=st.floats(0, 1000), until_us=st.integers(0, 10 * MINUTE_US))
    def test_times_in_order(self, columns, limit, used, until_us):
        """Now, the earliest, the median, the latest, and the reset follow each other."""
        told = forecast(columns, 0, Usage(limit, used, NOW_US + until_us), NOW_US)
        if told.exhausted_at_us is None:
            assert told.probability == 0.0
            return
        instants = [NOW_US, told.earliest_us, told.exhausted_at_us, told.latest_us, told.horizon_end_us]
        assert instants == sorted(instants)

    def test_a_reset_that_has_passed(self, columns):
        """After the reset nothing runs out any more in that window."""
        told = forecast(columns, 0, Usage(250, 200, NOW_US - 1), NOW_US)
        assert (told.probability, told.exhausted_at_us) == (0.0, None)


class TestRollingWindows:
    def test_ends_in_a_window(self, columns):
        """The horizon of a rolling window is one window."""
        assert forecast(columns, 0, Usage(300, 100, None), NOW_US).horizon_end_us == NOW_US + MINUTE_US

    def test_use_leaves(self, columns):
        """What was used leaves: the same use runs out less surely than under a fixed window as long."""
        rolling = forecast(columns, 0, Usage(330, 300, None), NOW_US)
        fixed = forecast(columns, 0, Usage(330, 300, NOW_US + MINUTE_US), NOW_US)
        assert 0.0 < rolling.probability < fixed.probability

    def test_time_of_a_burst(self):
        """Demand above what leaves takes the room at their difference: 40 at 5 - 1 a second, ten seconds."""
        told = forecast(observed(STREAM), 0, Usage(100, 60, None), NOW_US)
        assert (told.exhausted_at_us - NOW_US) / SECOND_US == pytest.approx(10, rel=0.3)


class TestCapacityStates:
    @pytest.mark.parametrize(
        ("limit", "state"),
        [(10_000, "abundant"), (400, "constrained"), (330, "critical"), (200, "exhausted")],
    )
    def test_states(self, columns, limit, state):
        """The less remains, the worse the state."""
        assert forecast(columns, 0, Usage(limit, 200, RESET_US), NOW_US).capacity_state == state

    def test_recovering(self, columns):
        """An account that ran out lately recovers until demand threatens it again."""
        calm = forecast(columns, 0, Usage(10_000, 200, RESET_US, recovering=True), NOW_US)
        pressed = forecast(columns, 0, Usage(330, 200, RESET_US, recovering=True), NOW_US)
        assert calm.capacity_state is CapacityState.Recovering
        assert pressed.capacity_state is CapacityState.Critical

    def test_the_table(self):
        """Every state stands in the table once, from the worst on, with its reason."""
        assert {threshold.state for threshold in THRESHOLDS} == set(CapacityState)
        assert len(THRESHOLDS) == len(CapacityState)
        probabilities = [threshold.least_probability for threshold in THRESHOLDS]
        assert probabilities == sorted(probabilities, reverse=True)
        assert all(threshold.reason for threshold in THRESHOLDS)

    def test_edges(self):
        """A threshold belongs to its state."""
        assert capacity_state(0.5) is CapacityState.Critical
        assert capacity_state(0.1) is CapacityState.Constrained
        assert capacity_state(0.0999) is CapacityState.Abundant
        assert capacity_state(1.0) is CapacityState.Critical


class TestUncertainty:
    def test_unknown(self):
        """Without any observation nothing is known."""
        told = forecast(observed([]), 0, Usage(10, 0, RESET_US), NOW_US)
        assert (told.uncertainty, told.probability, told.rate_per_s) == (Uncertainty.Unknown, 0.0, 0.0)

    def test_bounded(self):
        """After a few observations only bounds are told."""
        told = forecast(observed(STREAM[:3]), 0, Usage(10, 3, RESET_US), STREAM[2][0])
        assert told.uncertainty is Uncertainty.Bounded

    def test_bounded_until_compared(self):
        """Many observations that no slot has compared with a forecast are no estimate yet."""
        told = forecast(observed([(START_US, 1.0)] * 50), 0, Usage(100, 50, RESET_US), START_US)
        assert told.uncertainty is Uncertainty.Bounded

    def test_estimated(self, columns):
        """After enough that was compared with what came it is an estimate."""
        assert forecast(columns, 0, Usage(400, 200, RESET_US), NOW_US).uncertainty is Uncertainty.Estimated

    def test_exact(self, columns):
        """That the limit is used is exact if the use is."""
        assert forecast(columns, 0, Usage(200, 200, RESET_US), NOW_US).uncertainty is Uncertainty.Exact

    def test_the_worse_counts(self, columns):
        """A forecast is no surer than the use that it starts from."""
        usage = Usage(400, 200, RESET_US, known=Uncertainty.Bounded)
        assert forecast(columns, 0, usage, NOW_US).uncertainty is Uncertainty.Bounded

"""Backtests: the scoring is right, and forecasts are calibrated on traffic held out from their making."""

import numpy as np
import pytest

from apikeyrouter.application.backtest import Plan, Series, backtest, straight_line, summarise, whole_windows
from apikeyrouter.interfaces.traffic import read_trace
from apikeyrouter.interfaces.traffic.patterns import Pattern, pattern_arrivals

SECOND_US = 1_000_000
WINDOWS = 40
MOST_CALIBRATION_ERROR = 0.05


def series_of(arrivals, dimension: str) -> Series:
    amounts = [one.input_tokens + one.output_tokens if dimension == "tokens" else 1 for one in arrivals]
    return Series(np.array([one.at_us for one in arrivals]), np.array(amounts, dtype=float))


def even(count: int, gap_us: int) -> Series:
    return Series(np.arange(count) * gap_us + 10**15, np.ones(count))


class TestScoring:
    def test_only_whole_windows(self):
        """A window that the series leaves before its end is not scored."""
        plan = Plan(window_us=100)
        assert len(whole_windows(even(11, 99), plan)) == 9
        assert whole_windows(even(2, 99), plan) == []
        assert backtest(even(2, 99), plan) == []
        assert backtest(even(0, 99), plan) == []

    def test_many_windows_are_sampled(self):
        """Of too many windows some are taken at even distances."""
        starts_us = whole_windows(even(1001, 100), Plan(window_us=100, most_windows=10))
        assert len(starts_us) == 10
        assert len(set(np.diff(starts_us))) == 1

    def test_what_came(self):
        """Even demand passes a limit below it in every window and one above it in none."""
        cases = backtest(even(4001, SECOND_US), Plan(window_us=100 * SECOND_US, loads=(0.5, 2.0)))
        above = [case for case in cases if case.came_true]
        assert {case.place for case in above} == {0.05, 0.15, 0.25, 0.35, 0.45}
        assert len(cases) == 40 * (10 + 5)

    def test_times_are_in_windows(self):
        """On even demand the straight line is right to a request, and the score says so."""
        cases = backtest(even(4001, SECOND_US), Plan(window_us=100 * SECOND_US, loads=(2.0,), places=(0.25,)))
        assert summarise(cases).line_time_error == pytest.approx(0.02, abs=0.02)

    def test_straight_line(self):
        """What was used goes on as it went; where nothing was used it never ends."""
        assert straight_line(now_us=30, start_us=10, used=4, limit=10) == 60
        assert straight_line(now_us=30, start_us=10, used=0, limit=10) == float("inf")

    def test_no_cases(self):
        """Without cases nothing is claimed."""
        summary = summarise([])
        assert (summary.cases, summary.brier, summary.coverage, summary.time_error) == (0, None, None, None)


@pytest.mark.parametrize("dimension", ["requests", "tokens"])
@pytest.mark.parametrize("pattern", list(Pattern))
class TestHeldOutTraffic:
    def test_calibration(self, pattern, dimension):
        """Told and come true differ by less than 0.05; the straight line is more than twice as far off."""
        cases = []
        for seed in range(700_000, 700_003):
            for window_s in (60, 900):
                per_window = 30 * (1 + seed % 3 * 2)
                arrivals = pattern_arrivals(pattern, seed, window_s * WINDOWS, per_window * WINDOWS)
                cases += backtest(series_of(arrivals, dimension), Plan(window_us=window_s * SECOND_US))
        summary = summarise(cases)
        assert summary.calibration_error <= MOST_CALIBRATION_ERROR
        assert summary.calibration_error < summary.line_calibration_error / 2
        assert summary.brier < summary.line_brier
        assert 0.7 < summary.coverage < 0.93
        assert summary.time_error < summary.line_time_error


@pytest.mark.parametrize("dimension", ["requests", "tokens"])
def test_an_hour_of_production(trace_file, dimension):
    """On real traffic forecasts are calibrated, and early ones halve the error of time."""
    series = series_of(sorted(read_trace(trace_file)), dimension)
    cases = [
        case for minutes in (1, 5, 15) for case in backtest(series, Plan(window_us=minutes * 60 * SECOND_US))
    ]
    assert summarise(cases).calibration_error <= MOST_CALIBRATION_ERROR
    assert 0.7 < summarise(cases).coverage < 0.93
    first = summarise(case for case in cases if case.place < 0.1)
    assert first.time_error <= first.line_time_error / 2


def test_seeds_make_traffic():
    """The same seed makes the same traffic, another seed other traffic, in order of time."""
    one, again, other = (pattern_arrivals(Pattern.Bursts, seed, 600, 500) for seed in (1, 1, 2))
    assert one == again != other
    assert one == sorted(one)


@pytest.mark.parametrize("pattern", list(Pattern))
def test_the_mean_is_met(pattern):
    """Every kind has about as many requests as asked for; where it stops it has fewer."""
    counts = [len(pattern_arrivals(pattern, seed, 36_000, 2000)) for seed in range(12)]
    low = 500 if pattern is Pattern.Stop else 1400
    assert low < np.mean(counts) < 2600

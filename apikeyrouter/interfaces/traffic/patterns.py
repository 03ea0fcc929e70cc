"""Synthetic traffic of known kinds with parameters drawn at random: what forecasts are tried on."""

from collections.abc import Callable
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from apikeyrouter.interfaces.traffic.arrivals import Arrival

Seconds = npt.NDArray[np.float64]
Rate = Callable[[Seconds], Seconds]

START_US = 1_700_000_000_000_000
MOST_OUTPUT_TOKENS = 200_000
GENTLE_SIGMA = (0.3, 1.3)
HEAVY_TAIL = (1.2, 2.5)


class Pattern(StrEnum):
    """The kinds of traffic."""

    Steady = "steady"
    Daily = "daily"
    Bursts = "bursts"
    Drift = "drift"
    Stop = "stop"


def pattern_arrivals(pattern: Pattern, seed: int, duration_s: float, requests: int) -> list[Arrival]:
    """Return about so many arrivals; each seed draws other parameters and other arrivals."""
    dice = np.random.default_rng([seed, list(Pattern).index(pattern)])
    at_s = _MOMENTS[pattern](dice, duration_s, requests / duration_s)
    inputs, outputs = _sizes(dice, len(at_s)), _sizes(dice, len(at_s)) // 4 + 1
    moments = (at_s * 1e6).astype(np.int64) + START_US
    return [Arrival(*each) for each in zip(moments.tolist(), inputs.tolist(), outputs.tolist(), strict=True)]


def _between(dice: np.random.Generator, low: float, high: float) -> float:
    """Draw evenly on the logarithmic scale."""
    return float(np.exp(dice.uniform(np.log(low), np.log(high))))


def _poisson(dice: np.random.Generator, rate: Rate, peak: float, duration_s: float) -> Seconds:
    """Thin a Poisson process of the peak rate to one whose rate changes."""
    at_s = np.sort(dice.uniform(0.0, duration_s, dice.poisson(peak * duration_s)))
    kept: Seconds = at_s[dice.uniform(size=len(at_s)) * peak < rate(at_s)]
    return kept


def _steady(dice: np.random.Generator, duration_s: float, per_s: float) -> Seconds:
    return _poisson(dice, lambda at_s: np.full_like(at_s, per_s), per_s, duration_s)


def _daily(dice: np.random.Generator, duration_s: float, per_s: float) -> Seconds:
    """One to four days within the duration."""
    swing, phase = dice.uniform(0.3, 0.95), dice.uniform(0, 2 * np.pi)
    turns = 2 * np.pi * dice.uniform(1.0, 4.0) / duration_s
    rate: Rate = lambda at_s: per_s * (1 + swing * np.sin(turns * at_s + phase))  # noqa: E731 - as its fellows
    return _poisson(dice, rate, per_s * (1 + swing), duration_s)


def _bursts(dice: np.random.Generator, duration_s: float, per_s: float) -> Seconds:
    """On and off by turns, each for an exponential time: seconds to minutes; off may be silent or a tenth."""
    on_s = _between(dice, 3.0, 600.0)
    off_s = on_s * _between(dice, 0.5, 8.0)
    quiet = float(dice.choice([0.0, 0.1]))
    peak = per_s * (on_s + off_s) / (on_s + quiet * off_s)
    turns = int(4 * duration_s / (on_s + off_s)) + 40
    lengths = dice.exponential(1.0, turns) * np.tile([on_s, off_s], turns)[:turns]
    ends = np.cumsum(lengths)
    rate: Rate = lambda at_s: np.where(np.searchsorted(ends, at_s) % 2 == 0, peak, peak * quiet)  # noqa: E731 - as its fellows
    return _poisson(dice, rate, peak, duration_s)


def _drift(dice: np.random.Generator, duration_s: float, per_s: float) -> Seconds:
    """Grow or shrink by up to six times."""
    growth = _between(dice, 1 / 6, 6.0)
    rate: Rate = lambda at_s: per_s * growth ** (at_s / duration_s - 0.5)  # noqa: E731 - as its fellows
    return _poisson(dice, rate, per_s * max(growth, 1 / growth) ** 0.5, duration_s)


def _stop(dice: np.random.Generator, duration_s: float, per_s: float) -> Seconds:
    """Steady, then nothing; half of the streams come back at another rate."""
    at_s = _steady(dice, duration_s, per_s)
    end_s = dice.uniform(0.3, 0.8) * duration_s
    back_s = end_s + dice.uniform(0.05, 0.4) * duration_s
    before = at_s[at_s < end_s]
    if dice.uniform() < 0.5:
        return before
    after = _steady(dice, duration_s, per_s * _between(dice, 0.3, 3.0))
    return np.concatenate([before, after[after > back_s]])


def _sizes(dice: np.random.Generator, count: int) -> npt.NDArray[np.int64]:
    """Draw tokens: two streams in three gentle (lognormal), one with a heavy tail (Pareto)."""
    if dice.uniform() < 1 / 3:
        drawn = 200 * (dice.pareto(dice.uniform(*HEAVY_TAIL), count) + 0.1)
    else:
        drawn = dice.lognormal(6.0, dice.uniform(*GENTLE_SIGMA), count)
    return np.minimum(drawn + 1, MOST_OUTPUT_TOKENS).astype(np.int64)


_MOMENTS = {
    Pattern.Steady: _steady,
    Pattern.Daily: _daily,
    Pattern.Bursts: _bursts,
    Pattern.Drift: _drift,
    Pattern.Stop: _stop,
}

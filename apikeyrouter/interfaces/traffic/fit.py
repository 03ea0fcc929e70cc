"""Fit a traffic model to arrivals, by moments: no search, so the same arrivals give the same model."""

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from apikeyrouter.errors import InvalidRequestError
from apikeyrouter.interfaces.traffic.arrivals import Arrival
from apikeyrouter.interfaces.traffic.model import INPUT_PLACES, OUTPUT_PLACES, SECOND_US, STEP_S, TrafficModel

BANDS = 16
FEWEST_ARRIVALS = 1000
SHORTEST_S = 600.0
MOST_MEMORY = 0.999
MOST_ECHO_PROBABILITY = 0.9

Seconds = npt.NDArray[np.float64]
Tokens = npt.NDArray[np.int64]


def fit(arrivals: Iterable[Arrival]) -> TrafficModel:
    """Fit a model; fewer than a thousand arrivals or ten minutes raise `InvalidRequestError`."""
    table = np.array(sorted(arrivals), dtype=np.int64).reshape(-1, 3)
    at_s = (table[:, 0] - table[:1, 0]) / SECOND_US
    if len(at_s) < FEWEST_ARRIVALS or at_s[-1] < SHORTEST_S:
        raise InvalidRequestError(f"a fit needs {FEWEST_ARRIVALS} arrivals over {SHORTEST_S:.0f} s")
    rate = len(at_s) / float(at_s[-1])
    probability, delay_s = fit_echoes(at_s)
    sigma, memory = fit_rate(at_s, 1 + echo_excess(probability))
    return TrafficModel(
        requests_per_s=round(rate, 4),
        rate_sigma=round(sigma, 4),
        rate_memory=round(memory, 4),
        echo_probability=round(probability, 4),
        echo_delay_s=round(delay_s, 3),
        input_quantiles=quantiles(table[:, 1], INPUT_PLACES),
        output_quantiles=fit_outputs(table[:, 1], table[:, 2]),
    )


def counts_in(at_s: Seconds, window_s: float) -> Tokens:
    """Count the arrivals in each whole window."""
    windows = int(at_s[-1] // window_s)
    return np.bincount((at_s // window_s).astype(np.int64), minlength=windows)[:windows]


def dispersion(at_s: Seconds, window_s: float) -> float:
    """Return variance over mean of the counts: 1 for a Poisson process, more for bursts."""
    counts = counts_in(at_s, window_s)
    return float(counts.var() / counts.mean())


def fit_echoes(at_s: Seconds) -> tuple[float, float]:
    """Fit probability and delay of echoes.

    The wandering rate adds to the dispersion in proportion to the window. What is there beyond that line
    is the echoes' `2p / (1 + p)`; in a window as short as the delay only a part of it shows.
    """
    short, middle, long = 1.0, 5.0, 20.0
    slope = (dispersion(at_s, long) - dispersion(at_s, middle)) / (long - middle)
    excess = dispersion(at_s, middle) - 1 - slope * middle
    if excess <= 0:
        return 0.0, short
    probability = min(excess / (2 - excess), MOST_ECHO_PROBABILITY) if excess < 1 else MOST_ECHO_PROBABILITY
    shown = (dispersion(at_s, short) - 1 - slope * short) / excess
    return probability, delay_where(shown, short)


def echo_excess(probability: float) -> float:
    """Return what echoes add to the dispersion in long windows."""
    return 2 * probability / (1 + probability)


def delay_where(shown: float, window_s: float) -> float:
    """Return the mean delay at which a window shows that share of the echoes' dispersion, by bisection."""
    low_s, high_s = 0.01, 5.0
    for _ in range(50):
        delay_s = (low_s + high_s) / 2
        if 1 + math.expm1(-window_s / delay_s) * delay_s / window_s > shown:
            low_s = delay_s
        else:
            high_s = delay_s
    return (low_s + high_s) / 2


def fit_rate(at_s: Seconds, dispersion_without: float) -> tuple[float, float]:
    """Fit how far the rate wanders and how long it stays, from the counts of minutes.

    A rate that stays long does not show its whole wandering within the trace; what it hides is added.
    """
    minute_s = 60.0
    counts = counts_in(at_s, minute_s)
    mean, variance = float(counts.mean()), float(counts.var())
    wandering = variance - dispersion_without * mean
    if wandering <= 0:
        return 0.0, 0.0
    together = float(np.mean((counts[1:] - mean) * (counts[:-1] - mean)))
    memory = min(max(together / wandering, 0.0), MOST_MEMORY ** (minute_s / STEP_S))
    wandering /= 1 - mean_correlation(memory, len(counts))
    return math.sqrt(math.log1p(wandering / mean**2)), memory ** (STEP_S / minute_s)


def mean_correlation(memory: float, length: int) -> float:
    """Return the mean correlation of any two of so many values of an AR(1) process."""
    lags = np.arange(1, length)
    return float(length + 2 * np.sum((length - lags) * memory**lags)) / length**2


def quantiles(values: Tokens, places: tuple[float, ...]) -> tuple[int, ...]:
    """Return the values at the places."""
    return tuple(int(value) for value in np.quantile(values, places).round())


def fit_outputs(inputs: Tokens, outputs: Tokens) -> tuple[tuple[int, ...], ...]:
    """Return the quantiles of the outputs for each band of inputs."""
    ordered = outputs[np.argsort(inputs, kind="stable")]
    return tuple(quantiles(band, OUTPUT_PLACES) for band in np.array_split(ordered, BANDS))

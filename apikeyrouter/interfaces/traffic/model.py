"""The shape of a traffic model, and drawing from it: bursts at two scales, sizes with their dependence."""

import heapq
import math
import random
from bisect import bisect_right
from collections.abc import Iterator

import msgspec

from apikeyrouter.interfaces.traffic.arrivals import Arrival

STEP_S = 10.0
SECOND_US = 1_000_000

INPUT_PLACES = (
    *(0.0, 0.01, 0.02),
    *(step / 20 for step in range(1, 20)),
    *(0.98, 0.99, 0.995, 0.999, 1.0),
)
OUTPUT_PLACES = (0.0, 0.02, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 0.98, 1.0)


class TrafficModel(msgspec.Struct, frozen=True, kw_only=True):
    """A service in numbers.

    The rate of requests wanders: its logarithm is an AR(1) process in steps of ten seconds, of which
    `rate_memory` is left after each. A request is followed by an echo with `echo_probability`, on average
    `echo_delay_s` later. `input_quantiles` are the input tokens at INPUT_PLACES; each row of
    `output_quantiles` are the output tokens at OUTPUT_PLACES for one band of inputs, all bands equally
    frequent, from the smallest inputs to the largest.
    """

    requests_per_s: float
    rate_sigma: float
    rate_memory: float
    echo_probability: float
    echo_delay_s: float
    input_quantiles: tuple[int, ...]
    output_quantiles: tuple[tuple[int, ...], ...]


def arrivals(model: TrafficModel, seed: int, start_us: int) -> Iterator[Arrival]:
    """Yield arrivals without end, in order of time."""
    moments = random.Random(f"{seed}:moments")  # noqa: S311 - repeatable chance, no secret
    sizes = random.Random(f"{seed}:sizes")  # noqa: S311 - repeatable chance, no secret
    for at_s in with_echoes(moments, model):
        yield Arrival(start_us + round(at_s * SECOND_US), *draw_sizes(sizes, model))


def with_echoes(dice: random.Random, model: TrafficModel) -> Iterator[float]:
    """Yield moments in seconds: requests, and the echoes of some."""
    pending: list[float] = []
    for at_s in requests(dice, model):
        while pending and pending[0] <= at_s:
            yield heapq.heappop(pending)
        yield at_s
        if dice.random() < model.echo_probability:
            heapq.heappush(pending, at_s + dice.expovariate(1) * model.echo_delay_s)


def requests(dice: random.Random, model: TrafficModel) -> Iterator[float]:
    """Yield the moments of a Poisson process whose rate changes with every step."""
    mean_rate = model.requests_per_s / (1 + model.echo_probability)
    for step, factor in enumerate(rate_factors(dice, model)):
        at_s, end_s = step * STEP_S, (step + 1) * STEP_S
        while (at_s := at_s + dice.expovariate(mean_rate * factor)) < end_s:
            yield at_s


def rate_factors(dice: random.Random, model: TrafficModel) -> Iterator[float]:
    """Yield by what the mean rate is multiplied, step after step; on average by one."""
    deviation = dice.gauss(0, 1)
    renewal = math.sqrt(1 - model.rate_memory**2)
    while True:
        yield math.exp(model.rate_sigma * deviation - model.rate_sigma**2 / 2)
        deviation = model.rate_memory * deviation + renewal * dice.gauss(0, 1)


def draw_sizes(dice: random.Random, model: TrafficModel) -> tuple[int, int]:
    """Draw input tokens, and output tokens from the band that the input lies in."""
    place = dice.random()
    band = model.output_quantiles[int(place * len(model.output_quantiles))]
    return between(INPUT_PLACES, model.input_quantiles, place), between(OUTPUT_PLACES, band, dice.random())


def between(places: tuple[float, ...], values: tuple[int, ...], place: float) -> int:
    """Return the value at a place in [0, 1), on the straight line between its neighbours."""
    above = bisect_right(places, place)
    low, high = places[above - 1], places[above]
    share = (place - low) / (high - low)
    return values[above - 1] + math.floor(share * (values[above] - values[above - 1]) + 0.5)

"""The criteria: what makes one key better than another, each as a number in [0, 1].

Only additions, multiplications, divisions and comparisons appear, so that any machine with IEEE 754 floats
reproduces every score to the bit.
"""

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

import msgspec
import numpy as np

from apikeyrouter.domain.columns import (
    DISPATCHED,
    FAILED,
    FIRST_BYTE_US,
    SUCCEEDED,
    Floats,
    KeyColumns,
    Which,
    highest,
    lowest,
)
from apikeyrouter.domain.events import Policy

PRIOR_SUCCESSES = 4.0
PRIOR_FAILURES = 0.2
FAILURE_WEIGHT = 4.0
PRIOR_LATENCY_OBSERVATIONS = 0.1
EXHAUSTION_WEIGHT = 0.5
LEAST_OBSERVED = 1e-9

FEW = 8
"""Up to so many candidates plain floats are faster than arrays; by the same formulas, to the same bits."""

Of = TypeVar("Of", float, Floats)
"""A number of one candidate, or an array with one entry a candidate."""


class Scores(msgspec.Struct, Generic[Of], frozen=True, gc=False):
    """What one candidate scores, or an array with one entry a candidate in each place.

    `latency_us` is the expectation behind the score. `headroom` and `exhaustion` are None where no candidate
    has quotas: then all have all the room.
    """

    cost: Of
    reliability: Of
    fairness: Of
    latency: Of
    quality: Of
    headroom: Of | None
    exhaustion: Of | None
    cost_bound_nano_usd: Of
    latency_us: Of


class Room(NamedTuple, Generic[Of]):
    """What is left of the tightest quota, and the probability that it runs out."""

    left: Of
    exhaustion: Of


# --- the formulas --------------------------------------------------------------------------------------


def nearness(least: float, value: Of) -> Of:
    """Score the least 1, about twice as much 1/2."""
    return (least + 1.0) / (value + 1.0)


def reliability(succeeded: Of, failed: Of) -> Of:
    """Score by a posterior that forgets: a new key is nearly trusted, a failure undoes four successes."""
    good = succeeded + PRIOR_SUCCESSES
    return good / (good + (failed * FAILURE_WEIGHT + PRIOR_FAILURES))


def load_of(in_flight: Of, dispatched: Of, weight: Of) -> Of:
    """Return the load for its share. What is in flight counts at once, against herds."""
    return (in_flight + dispatched) / weight + 1.0


def drawn_latency_us(succeeded: Of, first_byte_us: Of, best: float) -> Of:
    """Return the mean time to the first byte, drawn towards the best one's: so a new key gets a try."""
    prior = PRIOR_LATENCY_OBSERVATIONS
    return (first_byte_us + prior * best) / (succeeded + prior)


def headroom_of(left: Of, exhaustion: Of) -> Of:
    """Score what is left of the tightest quota; a key that will surely run dry counts half of that."""
    return left * (1.0 - exhaustion * EXHAUSTION_WEIGHT)


def combine(scores: Scores[Of], policy: Policy) -> Of:
    """Weigh the criteria together, in a fixed order of additions. Room counts only where there are limits."""
    whole = policy.cost + policy.reliability + policy.fairness + policy.latency + policy.quality
    if scores.headroom is not None:
        whole += policy.headroom
    total = scores.fairness * (policy.fairness / whole)
    total += scores.reliability * (policy.reliability / whole)
    if policy.cost:
        total += scores.cost * (policy.cost / whole)
    if policy.latency:
        total += scores.latency * (policy.latency / whole)
    if policy.quality:
        total += scores.quality * (policy.quality / whole)
    if scores.headroom is not None and policy.headroom:
        total += scores.headroom * (policy.headroom / whole)
    return total


# --- over many candidates ------------------------------------------------------------------------------


def score_all(
    columns: KeyColumns,
    rows: Which,
    quality: Floats,
    cost_bound: Floats,
    room: Room[Floats] | None,
    now_us: int,
) -> Scores[Floats]:
    """Score the candidates in these rows by every criterion."""
    outcomes = columns.outcomes.sums[:, rows] * columns.outcomes.scale(now_us)
    dispatched = columns.load.sums[DISPATCHED, rows] * columns.load.scale(now_us)
    load = load_of(columns.in_flight[rows], dispatched, columns.weight[rows])
    latency_us = _expected_latency_us(outcomes[SUCCEEDED], outcomes[FIRST_BYTE_US])
    return Scores(
        cost=_score_cost(cost_bound),
        reliability=reliability(outcomes[SUCCEEDED], outcomes[FAILED]),
        fairness=lowest(load) / load,
        latency=nearness(lowest(latency_us), latency_us),
        quality=quality,
        headroom=None if room is None else headroom_of(np.maximum(room.left, 0.0), room.exhaustion),
        exhaustion=None if room is None else room.exhaustion,
        cost_bound_nano_usd=cost_bound,
        latency_us=latency_us,
    )


def _score_cost(bound: Floats) -> Floats:
    """Score the cheapest 1, an unknown price (below zero) 0."""
    least = lowest(bound)
    if least >= 0.0:
        return nearness(least, bound)
    if highest(bound) < 0.0:
        return np.zeros(len(bound))
    known = bound >= 0.0
    return np.where(known, nearness(lowest(bound[known]), np.maximum(bound, 0.0)), 0.0)


def _expected_latency_us(succeeded: Floats, first_byte_us: Floats) -> Floats:
    if lowest(succeeded) > LEAST_OBSERVED:
        best = lowest(first_byte_us / succeeded)
    elif highest(succeeded) > LEAST_OBSERVED:
        observed = succeeded > LEAST_OBSERVED
        best = lowest(first_byte_us[observed] / succeeded[observed])
    else:
        return np.ones(len(succeeded))
    return drawn_latency_us(succeeded, first_byte_us, best)


# --- over few ------------------------------------------------------------------------------------------


def score_each(
    columns: KeyColumns,
    rows: Which,
    quality: Floats,
    cost_bound: Floats,
    room: Room[Floats] | None,
    now_us: int,
) -> list[Scores[float]]:
    """Score the candidates in these rows by every criterion, one by one."""
    scale, scale_of_load = columns.outcomes.scale(now_us), columns.load.scale(now_us)
    outcomes = [[each * scale for each in line] for line in columns.outcomes.sums[:, rows].tolist()]
    succeeded, first_byte_us = outcomes[SUCCEEDED], outcomes[FIRST_BYTE_US]
    bounds = cost_bound.tolist()
    loads = [
        load_of(in_flight, dispatched * scale_of_load, weight)
        for in_flight, dispatched, weight in zip(
            columns.in_flight[rows].tolist(),
            columns.load.sums[DISPATCHED, rows].tolist(),
            columns.weight[rows].tolist(),
            strict=True,
        )
    ]
    latencies_us = _each_latency_us(succeeded, first_byte_us)
    least_load, least_latency_us = min(loads), min(latencies_us)
    least_bound = min((bound for bound in bounds if bound >= 0.0), default=0.0)
    rooms = _each_room(room, len(bounds))
    return [
        Scores(
            cost=nearness(least_bound, bound) if bound >= 0.0 else 0.0,
            reliability=reliability(good, bad),
            fairness=least_load / load,
            latency=nearness(least_latency_us, latency_us),
            quality=each_quality,
            headroom=None if room is None else headroom_of(max(0.0, left), exhaustion),
            exhaustion=None if room is None else exhaustion,
            cost_bound_nano_usd=bound,
            latency_us=latency_us,
        )
        for bound, good, bad, load, latency_us, each_quality, (left, exhaustion) in zip(
            bounds, succeeded, outcomes[FAILED], loads, latencies_us, quality.tolist(), rooms, strict=True
        )
    ]


def _each_latency_us(succeeded: Sequence[float], first_byte_us: Sequence[float]) -> list[float]:
    seen = list(zip(succeeded, first_byte_us, strict=True))
    observed = [total / count for count, total in seen if count > LEAST_OBSERVED]
    if not observed:
        return [1.0] * len(seen)
    best = min(observed)
    return [drawn_latency_us(count, total, best) for count, total in seen]


def _each_room(room: Room[Floats] | None, count: int) -> list[tuple[float, float]]:
    if room is None:
        return [(0.0, 0.0)] * count
    return list(zip(room.left.tolist(), room.exhaustion.tolist(), strict=True))

"""The criteria: what makes one key better than another, each as a number in [0, 1].

Only additions, multiplications, divisions and comparisons appear, so that any machine with IEEE 754 floats
reproduces every score to the bit.
"""

from typing import NamedTuple

import numpy as np

from apikeyrouter.domain.columns import (
    DISPATCHED,
    FAILED,
    FIRST_BYTE_US,
    SUCCEEDED,
    Floats,
    KeyColumns,
    Which,
)
from apikeyrouter.domain.events import Policy

PRIOR_SUCCESSES = 4.0
PRIOR_FAILURES = 0.2
FAILURE_WEIGHT = 4.0
PRIOR_LATENCY_OBSERVATIONS = 0.1
EXHAUSTION_WEIGHT = 0.5
LEAST_OBSERVED = 1e-9

lowest = np.minimum.reduce
highest = np.maximum.reduce
"""Least and greatest of an array, without what the methods of arrays add for other cases."""


class Scores(NamedTuple):
    """One entry a candidate in each array. `latency_us` is the expectation behind the score.

    `headroom` and `exhaustion` are None where no candidate has quotas: then all have all the room.
    """

    cost: Floats
    reliability: Floats
    fairness: Floats
    latency: Floats
    quality: Floats
    headroom: Floats | None
    exhaustion: Floats | None
    cost_bound_nano_usd: Floats
    latency_us: Floats


def score_cost(bound: Floats) -> Floats:
    """Score the cheapest 1, twice its cost 1/2, an unknown price (below zero) 0."""
    least = lowest(bound)
    if least >= 0.0:
        return np.asarray((least + 1.0) / (bound + 1.0))
    if highest(bound) < 0.0:
        return np.zeros(len(bound))
    known = bound >= 0.0
    return np.where(known, (lowest(bound[known]) + 1.0) / (np.maximum(bound, 0.0) + 1.0), 0.0)


def score_reliability(succeeded: Floats, failed: Floats) -> Floats:
    """Score by a posterior that forgets: a new key is nearly trusted, a failure undoes four successes."""
    good = succeeded + PRIOR_SUCCESSES
    return np.asarray(good / (good + (failed * FAILURE_WEIGHT + PRIOR_FAILURES)))


def score_fairness(in_flight: Floats, dispatched: Floats, weight: Floats) -> Floats:
    """Score the least loaded for its share 1. What is in flight counts at once, against herds."""
    load = (in_flight + dispatched) / weight + 1.0
    return np.asarray(lowest(load) / load)


def expected_latency_us(succeeded: Floats, first_byte_us: Floats) -> Floats:
    """Expect the mean time to the first byte; a key without history is given the best one's, and so a try."""
    if lowest(succeeded) > LEAST_OBSERVED:
        best = lowest(first_byte_us / succeeded)
    elif highest(succeeded) > LEAST_OBSERVED:
        observed = succeeded > LEAST_OBSERVED
        best = lowest(first_byte_us[observed] / succeeded[observed])
    else:
        return np.ones(len(succeeded))
    prior = PRIOR_LATENCY_OBSERVATIONS
    return np.asarray((first_byte_us + prior * best) / (succeeded + prior))


def score_headroom(left: Floats, exhaustion: Floats) -> Floats:
    """Score what is left of the tightest quota; a key that will surely run dry counts half of that."""
    return np.asarray(np.maximum(left, 0.0) * (1.0 - exhaustion * EXHAUSTION_WEIGHT))


class Room(NamedTuple):
    """What is left of the tightest quota of each candidate, and the probability that it runs out."""

    left: Floats
    exhaustion: Floats


def score_all(
    columns: KeyColumns,
    rows: Which,
    quality: Floats,
    cost_bound: Floats,
    room: Room | None,
    now_us: int,
) -> Scores:
    """Score the candidates in these rows by every criterion."""
    outcomes = columns.outcomes.sums[:, rows] * columns.outcomes.scale(now_us)
    dispatched = columns.load.sums[DISPATCHED, rows] * columns.load.scale(now_us)
    latency_us = expected_latency_us(outcomes[SUCCEEDED], outcomes[FIRST_BYTE_US])
    return Scores(
        cost=score_cost(cost_bound),
        reliability=score_reliability(outcomes[SUCCEEDED], outcomes[FAILED]),
        fairness=score_fairness(columns.in_flight[rows], dispatched, columns.weight[rows]),
        latency=(lowest(latency_us) + 1.0) / (latency_us + 1.0),
        quality=quality,
        headroom=None if room is None else score_headroom(*room),
        exhaustion=None if room is None else room.exhaustion,
        cost_bound_nano_usd=cost_bound,
        latency_us=latency_us,
    )


def combine(scores: Scores, policy: Policy) -> Floats:
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

"""The order of candidates: plain floats for a few and arrays for many come to the same bits."""

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from apikeyrouter.domain.columns import DISPATCHED, FAILED, FIRST_BYTE_US, SUCCEEDED, KeyColumns
from apikeyrouter.domain.events import EventRef, Policy
from apikeyrouter.domain.ranking import rank_all, rank_few
from apikeyrouter.domain.scoring import FEW, Room, score_all, score_each

REF = EventRef("key-k", 1)
NOW_US = 1_760_000_123_456_789
amounts = st.floats(0.0, 1e6)
counts = st.sampled_from([0.0, 1e-12, 1e-9, 0.5, 1.0]) | amounts
weights = st.floats(0.0, 1.0)


@st.composite
def candidates(draw):
    """Any history of a few keys, with costs that may be unknown and quotas that may be none."""
    count = draw(st.integers(1, FEW))

    def each(values):
        return np.array(draw(st.lists(values, min_size=count, max_size=count)))

    columns = KeyColumns()
    for weight in draw(st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=count, max_size=count)):
        columns.add(weight, REF)
    for sums in (columns.outcomes, columns.load):
        sums.landmark_us = NOW_US - draw(st.integers(0, 10**12))
    columns.outcomes.sums[SUCCEEDED, :count] = each(counts)
    columns.outcomes.sums[FAILED, :count] = each(counts)
    columns.outcomes.sums[FIRST_BYTE_US, :count] = each(amounts)
    columns.load.sums[DISPATCHED, :count] = each(counts)
    columns.in_flight[:count] = each(st.integers(0, 5).map(float))
    room = None
    if draw(st.booleans()):
        room = Room(each(st.floats(-2.0, 1.0).map(lambda left: left + 0.0)), each(weights))
    cost = each(st.just(-1.0) | st.integers(0, 2**53).map(float))
    return columns, slice(0, count), each(weights), cost, room, NOW_US


policies = st.builds(
    Policy,
    cost=weights,
    reliability=weights,
    fairness=weights.map(lambda weight: weight + 0.01),
    latency=weights,
    quality=weights,
    headroom=weights,
)


def bits(ranking, count):
    """Encode all that a decision may take from a ranking; floats come out by their shortest digits."""
    best = ranking.best()
    return msgspec.json.encode(
        [
            best,
            ranking.next_best(best[0], 2),
            ranking.next_best(best[-1], count),
            [(ranking.total(place), ranking.scores(place)) for place in range(count)],
        ]
    )


@given(candidates(), policies)
def test_few_candidates_rank_to_the_same_bits_as_many(sight, policy):
    few = rank_few(score_each(*sight), policy)
    every = rank_all(score_all(*sight), policy)
    assert bits(few, len(sight[2])) == bits(every, len(sight[2]))

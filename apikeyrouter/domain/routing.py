"""The decision: which key serves a request, and everything that speaks for it. Pure and total.

A recorded decision can be made again from the log: the same state, facts, policy, time and seed give the
same bytes. Hence a changed rule or score needs a new version of the event.
"""

from collections.abc import Sequence

import msgspec

from apikeyrouter.domain.columns import Floats
from apikeyrouter.domain.eligibility import Eligible, by_policy, by_state
from apikeyrouter.domain.events import (
    Candidate,
    Policy,
    RequestFacts,
    RouteDecided,
    RouteRefused,
)
from apikeyrouter.domain.pools import Pool, pool_for
from apikeyrouter.domain.scoring import Scores, combine, highest, score_all
from apikeyrouter.domain.state import RouterState

MOST_CANDIDATES = 3


class RouteQuestion(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Everything that a decision is made from, apart from the state."""

    facts: RequestFacts
    policy: Policy
    attempt: int
    tried: tuple[str, ...]
    at_us: int
    seed: int


def decide(state: RouterState, question: RouteQuestion) -> RouteDecided | RouteRefused:
    """Choose a key for a request, or refuse and say which rules left none."""
    pool = pool_for(state, question.facts)
    eligible = by_state(state, pool, question.tried)
    if not len(eligible.indices):
        return _refuse(state, question, pool, eligible)
    scores = _score(state, question, pool, eligible)
    admitted = by_policy(state, pool, eligible, scores, question.policy)
    if not len(admitted.indices):
        return _refuse(state, question, pool, admitted)
    if len(admitted.indices) != len(eligible.indices):
        scores = _score(state, question, pool, admitted)
    return _choose(state, question, pool, admitted, scores)


def _score(state: RouterState, question: RouteQuestion, pool: Pool, eligible: Eligible) -> Scores:
    facts, indices = question.facts, eligible.indices
    bound = pool.cost_bounds(facts.input_tokens_bound, facts.output_tokens_bound)
    rows, quality = pool.which, pool.quality
    if indices is not pool.everyone:
        rows, quality, bound = pool.rows[indices], quality[indices], bound[indices]
    now_us = max(question.at_us, state.latest_us)
    return score_all(state.columns, rows, quality, bound, now_us)


def _choose(
    state: RouterState, question: RouteQuestion, pool: Pool, eligible: Eligible, scores: Scores
) -> RouteDecided:
    total = combine(scores, question.policy)
    best = (total == highest(total)).nonzero()[0]
    first = int(best[question.seed % len(best)])
    candidates = [
        _candidate(state, pool, int(eligible.indices[place]), scores, float(total[place]), place)
        for place in (first, *_next_best(total, first, MOST_CANDIDATES - 1))
    ]
    return RouteDecided(
        at_us=question.at_us,
        as_of=state.position,
        seed=question.seed,
        attempt=question.attempt,
        facts=question.facts,
        policy=question.policy,
        chosen=candidates[0],
        others=tuple(candidates[1:]),
        eligible=len(eligible.indices),
        excluded=eligible.excluded,
        exclusions=eligible.exclusions,
        tried=question.tried,
    )


def _next_best(total: Floats, first: int, most: int) -> list[int]:
    """Return the places behind the first, best first, equals in order of registration.

    `argmax` names the first of equals, on every processor; what a sort or a partition does with them differs.
    """
    rest = total.copy()
    rest[first] = -1.0
    places = []
    for _ in range(min(most, len(rest) - 1)):
        place = int(rest.argmax())
        rest[place] = -1.0
        places.append(place)
    return places


def _candidate(
    state: RouterState, pool: Pool, index: int, scores: Scores, total: float, place: int
) -> Candidate:
    member, columns = pool.members[index], state.columns
    row = member.key.row
    bound = scores.cost_bound_nano_usd.item(place)
    return Candidate(
        key_id=member.key.key_id,
        provider_id=member.provider.provider_id,
        total=total,
        cost=scores.cost.item(place),
        reliability=scores.reliability.item(place),
        fairness=scores.fairness.item(place),
        latency=scores.latency.item(place),
        quality=scores.quality.item(place),
        in_flight=int(columns.in_flight[row]),
        cost_bound_nano_usd=None if bound < 0.0 else int(bound),
        state_ref=columns.state_ref[row],
        offer_ref=member.provider.ref,
        load_ref=columns.load_ref[row],
        outcome_ref=columns.outcome_ref[row],
    )


def _refuse(state: RouterState, question: RouteQuestion, pool: Pool, eligible: Eligible) -> RouteRefused:
    return RouteRefused(
        at_us=question.at_us,
        as_of=state.position,
        seed=question.seed,
        attempt=question.attempt,
        facts=question.facts,
        policy=question.policy,
        reason=_reason(pool, question.tried),
        retry_at_us=_next_wake(state, pool),
        excluded=eligible.excluded,
        exclusions=eligible.exclusions,
        tried=question.tried,
    )


def _reason(pool: Pool, tried: Sequence[str]) -> str:
    if tried:
        return "every_key_tried"
    if len(pool.rows):
        return "no_key_available"
    if set(pool.excluded) <= {"model_not_offered", "other_provider", "key_revoked"} and pool.excluded:
        return "model_not_offered"
    return "no_key_for_request"


def _next_wake(state: RouterState, pool: Pool) -> int | None:
    wakes = [
        state.resting[member.key.key_id] for member in pool.members if member.key.key_id in state.resting
    ]
    return min(wakes, default=None)

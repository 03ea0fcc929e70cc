"""The decision: which key serves a request, and everything that speaks for it. Pure and total.

A recorded decision can be made again from the log: the same state, facts, policy, time and seed give the
same bytes. Hence a changed rule or score needs a new version of the event.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from apikeyrouter.domain.capacity import Capacity, capacity_of, reserved_for
from apikeyrouter.domain.columns import Floats, KeyColumns, Which
from apikeyrouter.domain.downgrades import pool_within_budget
from apikeyrouter.domain.eligibility import Bounds, Eligible, by_policy, by_state, is_constrained
from apikeyrouter.domain.events import (
    ALL_ROOM,
    NO_DANGER,
    Candidate,
    EventRef,
    Reserved,
    RouteDecided,
    RouteRefused,
    Shortfall,
)
from apikeyrouter.domain.expected_costs import expected_cost
from apikeyrouter.domain.funds import over_budget, reserved_of, rows_of, shortfall_of, tightest_ref
from apikeyrouter.domain.output_bounds import CAPPED_OUTPUT_TOKENS, is_unbounded
from apikeyrouter.domain.pools import Pool
from apikeyrouter.domain.questions import RouteQuestion
from apikeyrouter.domain.ranking import Ranking, rank_all, rank_few
from apikeyrouter.domain.reopening import reopens_at_us
from apikeyrouter.domain.scoring import FEW, Room, score_all, score_each
from apikeyrouter.domain.sparing import spare
from apikeyrouter.domain.state import RouterState

RULES = 5
"""The version of the rules that decide here. It rises whenever a decision would come out otherwise."""

MOST_CANDIDATES = 3
BUDGET_EXCEEDED, PRICE_UNKNOWN = "budget_exceeded", "price_unknown"


class _Weighing(msgspec.Struct, frozen=True, gc=False):
    """Everything that one decision looks at."""

    state: RouterState
    question: RouteQuestion
    pool: Pool
    bounds: Bounds
    now_us: int


def decide(state: RouterState, question: RouteQuestion) -> RouteDecided | RouteRefused:
    """Choose a key for a request, or refuse and say which rules left none."""
    now_us = state.advance(question.at_us)
    pool, funds, cost = pool_within_budget(state, question)
    bounds = Bounds(capacity_of(state, pool, question.facts), funds, cost)
    weighing = _Weighing(state, question, pool, bounds, now_us)
    eligible = by_state(state, pool, question.tried, bounds)
    if len(eligible.indices) and is_constrained(question.policy):
        scores = score_all(*_sight(weighing, eligible))
        eligible = by_policy(state, pool, eligible, scores, question.policy)
    if not len(eligible.indices):
        return _refuse(weighing, eligible)
    eligible = spare(state, pool, question, eligible, bounds.capacity)
    return _choose(weighing, eligible, _rank(weighing, eligible))


def _rank(weighing: _Weighing, eligible: Eligible) -> Ranking:
    sight, policy = _sight(weighing, eligible), weighing.question.policy
    if len(eligible.indices) <= FEW:
        return rank_few(score_each(*sight), policy)
    return rank_all(score_all(*sight), policy)


class _Sight(NamedTuple):
    """What the scores look at."""

    columns: KeyColumns
    rows: Which
    quality: Floats
    cost_bound: Floats
    room: Room[Floats] | None
    now_us: int


def _sight(weighing: _Weighing, eligible: Eligible) -> _Sight:
    state, pool, bounds = weighing.state, weighing.pool, weighing.bounds
    capacity, cost = bounds.capacity, bounds.cost
    indices = eligible.indices
    room = None if capacity is None else _room(capacity, len(pool.rows))
    rows, quality = pool.which, pool.quality
    if indices is not pool.everyone:
        rows, quality, cost = pool.rows[indices], quality[indices], cost[indices]
        room = None if room is None else Room(room.left[indices], room.exhaustion[indices])
    return _Sight(state.columns, rows, quality, cost, room, weighing.now_us)


def _room(capacity: Capacity, count: int) -> Room[Floats]:
    return Room(
        capacity.by_member(capacity.least_left, 1.0, count),
        capacity.by_member(capacity.exhaustion, 0.0, count),
    )


def _choose(weighing: _Weighing, eligible: Eligible, ranking: Ranking) -> RouteDecided:
    question, indices = weighing.question, eligible.indices
    best = ranking.best()
    first = best[question.seed % len(best)]
    index = int(indices[first])
    drawn, expected = _budgets_of(weighing, index), _expected_cost(weighing, index)
    budget_ref = tightest_ref(weighing.state, weighing.bounds.funds, drawn)
    return RouteDecided(
        at_us=question.at_us,
        rules=RULES,
        as_of=weighing.state.position,
        seed=question.seed,
        attempt=question.attempt,
        facts=question.facts,
        policy=question.policy,
        chosen=_candidate(weighing, index, ranking, first, expected, budget_ref),
        others=tuple(
            _candidate(weighing, int(indices[place]), ranking, place)
            for place in ranking.next_best(first, MOST_CANDIDATES - 1)
        ),
        eligible=len(indices),
        excluded=eligible.excluded,
        exclusions=eligible.exclusions,
        tried=question.tried,
        avoided=question.avoided,
        reserved=_reserved(weighing, index, drawn),
        over_budget=over_budget(weighing.state, drawn, weighing.bounds.cost.item(index)) if drawn else (),
        output_tokens_capped=_cap(weighing, index, drawn) if drawn else None,
    )


def _expected_cost(weighing: _Weighing, index: int) -> int | None:
    price, model = weighing.pool.prices[index], weighing.pool.members[index].model
    if price is None:
        return None
    expected = weighing.state.expectations.of(model, weighing.question.facts, weighing.now_us)
    return expected_cost(price, expected, weighing.bounds.cost.item(index))


def _budgets_of(weighing: _Weighing, index: int) -> tuple[int, ...]:
    funds = weighing.bounds.funds
    return () if funds is None else rows_of(funds, weighing.pool, index)


def _reserved(weighing: _Weighing, index: int, drawn: tuple[int, ...]) -> tuple[Reserved, ...]:
    state, member = weighing.state, weighing.pool.members[index]
    reserved: tuple[Reserved, ...] = ()
    if weighing.bounds.capacity is not None:
        reserved = reserved_for(state, member.key.key_id, member.model, weighing.question.facts)
    if drawn:
        reserved += reserved_of(state, drawn, weighing.bounds.cost.item(index))
    return reserved


def _cap(weighing: _Weighing, index: int, drawn: tuple[int, ...]) -> int | None:
    """Bound each answer of a call that a hard budget pays for and nobody else bounds."""
    facts, limits = weighing.question.facts, weighing.pool.output_limits
    if not is_unbounded(facts) or (limits is not None and limits[index]):
        return None
    is_hard = weighing.state.budgets.is_hard
    return CAPPED_OUTPUT_TOKENS if any(is_hard[row] for row in drawn) else None


def _candidate(
    weighing: _Weighing,
    index: int,
    ranking: Ranking,
    place: int,
    expected_cost_nano_usd: int | None = None,
    budget_ref: EventRef | None = None,
) -> Candidate:
    """Describe a member by its index in the pool and its place in the ranking."""
    scores, member, columns = ranking.scores(place), weighing.pool.members[index], weighing.state.columns
    row, bound = member.key.row, scores.cost_bound_nano_usd
    return Candidate(
        key_id=member.key.key_id,
        provider_id=member.provider.provider_id,
        total=ranking.total(place),
        cost=scores.cost,
        reliability=scores.reliability,
        fairness=scores.fairness,
        latency=scores.latency,
        quality=scores.quality,
        headroom=ALL_ROOM if scores.headroom is None else scores.headroom,
        exhaustion=NO_DANGER if scores.exhaustion is None else scores.exhaustion,
        in_flight=int(columns.in_flight[row]),
        cost_bound_nano_usd=None if bound < 0.0 else int(bound),
        state_ref=columns.state_ref[row],
        offer_ref=member.provider.ref,
        load_ref=columns.load_ref[row],
        outcome_ref=columns.outcome_ref[row],
        quota_ref=_quota_ref(weighing, index),
        model=None if member.model == weighing.question.facts.model else member.model,
        expected_cost_nano_usd=expected_cost_nano_usd,
        budget_ref=budget_ref,
    )


def _quota_ref(weighing: _Weighing, index: int) -> EventRef | None:
    capacity = weighing.bounds.capacity
    account = None if capacity is None else capacity.tightest(index)
    return None if account is None else weighing.state.quotas.refs[account]


def _refuse(weighing: _Weighing, eligible: Eligible) -> RouteRefused:
    state, question, pool = weighing.state, weighing.question, weighing.pool
    reason = _reason(pool, question.tried, eligible.excluded)
    shortfall = _shortfall(weighing) if reason == BUDGET_EXCEEDED else None
    return RouteRefused(
        at_us=question.at_us,
        rules=RULES,
        as_of=state.position,
        seed=question.seed,
        attempt=question.attempt,
        facts=question.facts,
        policy=question.policy,
        reason=reason,
        retry_at_us=_retry_at_us(weighing, shortfall),
        excluded=eligible.excluded,
        exclusions=eligible.exclusions,
        tried=question.tried,
        avoided=question.avoided,
        shortfall=shortfall,
    )


def _retry_at_us(weighing: _Weighing, shortfall: Shortfall | None) -> int | None:
    question = weighing.question
    if shortfall is not None:
        return shortfall.fits_at_us
    return reopens_at_us(weighing.state, weighing.pool, question.facts, question.tried, question.at_us)


def _shortfall(weighing: _Weighing) -> Shortfall | None:
    funds, cost = weighing.bounds.funds, weighing.bounds.cost
    return None if funds is None else shortfall_of(weighing.state, weighing.pool, funds, cost)


def _reason(pool: Pool, tried: Sequence[str], excluded: dict[str, int]) -> str:
    if tried:
        return "every_key_tried"
    too_dear, unpriced = excluded.get("budget", 0), excluded.get("price_unknown", 0)
    if len(pool.rows) and too_dear + unpriced == len(pool.rows):
        return BUDGET_EXCEEDED if too_dear else PRICE_UNKNOWN
    if len(pool.rows):
        return "no_key_available"
    if set(pool.excluded) <= {"model_not_offered", "other_provider", "key_revoked"} and pool.excluded:
        return "model_not_offered"
    return "no_key_for_request"

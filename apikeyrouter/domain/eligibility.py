"""Who may be chosen: small named rules in order; the first that refuses a key names itself."""

from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from apikeyrouter.domain.capacity import Capacity, refused_members
from apikeyrouter.domain.columns import KEY_STATES, Floats, Rows
from apikeyrouter.domain.events import EventRef, Exclusion, Policy, provider_stream
from apikeyrouter.domain.funds import Funds, rows_of, tightest_ref
from apikeyrouter.domain.pools import MOST_EXCLUSIONS, Pool
from apikeyrouter.domain.scoring import Scores
from apikeyrouter.domain.state import RouterState

every = np.logical_and.reduce
Mask = NDArray[np.bool_]


class Bounds(msgspec.Struct, frozen=True, gc=False):
    """What bounds a request: quotas and budgets, where there are any, and its own cost at most."""

    capacity: Capacity | None
    funds: Funds | None
    cost: Floats


class Eligible(msgspec.Struct, frozen=True, gc=False):
    """Indices into the pool of those that passed, and the account of those that did not."""

    indices: Rows
    excluded: dict[str, int]
    exclusions: tuple[Exclusion, ...]


def by_state(state: RouterState, pool: Pool, tried: Sequence[str], bounds: Bounds) -> Eligible:
    """Drop keys that rest, are off or rejected, full or too dear, or were tried for this request already."""
    columns, which = state.columns, pool.which
    capacity, funds = bounds.capacity, bounds.funds
    fits = (capacity is None or every(capacity.fits)) and (funds is None or funds.cover(bounds.cost))
    in_order = columns.all_fit or every(columns.available[which] & columns.reachable[which])
    if in_order and fits and not tried and not pool.bounds_concurrency:
        return Eligible(pool.everyone, pool.excluded, pool.exclusions)
    account = Account(state, pool, pool.excluded, funds=funds)
    for name, refused in _refusals(state, pool, tried, bounds):
        newly = refused & account.mask
        account.refuse(newly, name)
    return account.close()


def _refusals(
    state: RouterState, pool: Pool, tried: Sequence[str], bounds: Bounds
) -> Iterator[tuple[str, Mask]]:
    columns, rows = state.columns, pool.rows
    capacity, funds, cost = bounds.capacity, bounds.funds, bounds.cost
    if funds is not None:
        # First of all: where the money is gone no key helps, whatever else keeps them back.
        yield "price_unknown", funds.unpriced(cost)
        yield "budget", funds.too_dear(cost)
    available = columns.available[rows]
    codes = columns.state_code[rows]
    for code in np.flatnonzero(np.bincount(codes[~available])).tolist():
        yield f"key_{KEY_STATES[code]}", (codes == code) & ~available
    yield "provider_down", ~columns.reachable[rows]
    yield "already_tried", np.isin(rows, [state.keys[key_id].row for key_id in tried])
    yield "max_concurrency", columns.in_flight[rows] >= columns.most_in_flight[rows]
    if capacity is not None:
        full = np.zeros(len(rows), dtype=np.bool_)
        full[refused_members(capacity)] = True
        yield "quota", full


_NO_BOUNDS = (None, None, None, None)


def is_constrained(policy: Policy) -> bool:
    """Tell whether a policy has any constraint that could refuse a key."""
    bounds = (policy.max_cost_nano_usd, policy.max_latency_us, policy.min_reliability, policy.min_quality)
    return bounds != _NO_BOUNDS or policy.providers is not None or bool(policy.excluded_providers)


def by_policy(
    state: RouterState, pool: Pool, eligible: Eligible, scores: Scores[Floats], policy: Policy
) -> Eligible:
    """Drop keys that a constraint of the policy refuses; the scores are those of the eligible."""
    account = Account(state, pool, eligible.excluded, eligible.exclusions, among=eligible.indices)
    for name, rule in _CONSTRAINTS:
        if _asked(policy, name):
            refused = np.zeros(len(pool.rows), dtype=np.bool_)
            refused[eligible.indices] = ~rule(pool, eligible.indices, scores, policy)
            account.refuse(refused & account.mask, name)
    return account.close()


class Account:
    """Counts refusals by rule, and names the first few keys with their evidence."""

    def __init__(
        self,
        state: RouterState,
        pool: Pool,
        excluded: dict[str, int],
        exclusions: tuple[Exclusion, ...] | None = None,
        among: Rows | None = None,
        funds: Funds | None = None,
    ) -> None:
        self.mask = np.ones(len(pool.rows), dtype=np.bool_)
        if among is not None:
            self.mask = np.zeros(len(pool.rows), dtype=np.bool_)
            self.mask[among] = True
        self._state = state
        self._pool = pool
        self._funds = funds
        self._excluded = dict(excluded)
        self._before = pool.exclusions if exclusions is None else exclusions
        self._exclusions: list[Exclusion] = []
        self.refused = False

    def refuse(self, refused: Mask, rule: str) -> None:
        """Take out the keys that a rule refuses."""
        indices = np.flatnonzero(refused)
        if not len(indices):
            return
        self.refused = True
        self.mask &= ~refused
        self._excluded[rule] = self._excluded.get(rule, 0) + len(indices)
        for index in indices[: MOST_EXCLUSIONS - len(self._exclusions)].tolist():
            key_id = self._pool.members[index].key.key_id
            self._exclusions.append(Exclusion(key_id=key_id, rule=rule, evidence=self._evidence(rule, index)))

    def close(self) -> Eligible:
        """Return who is left, and the account of the others."""
        exclusions = (*self._exclusions, *self._before)[:MOST_EXCLUSIONS]
        return Eligible(np.flatnonzero(self.mask), self._excluded, exclusions)

    def _evidence(self, rule: str, index: int) -> EventRef:
        """Name the event behind a refusal: of load, quota, budget, provider, or the key's own state."""
        columns, key = self._state.columns, self._pool.members[index].key
        seen = columns.state_ref[key.row]
        if rule in _OF_MONEY and self._funds is not None:
            drawn = rows_of(self._funds, self._pool, index)
            return tightest_ref(self._state, self._funds, drawn) or seen
        if rule in _OF_LOAD:
            return columns.load_ref[key.row] or seen
        if rule in _OF_QUOTA:
            return self._state.quotas.tightest_ref(key.key_id) or seen
        health = self._state.health.get(key.provider_id)
        if rule in _OF_PROVIDER and health is not None and health.version:
            return EventRef(provider_stream(key.provider_id), health.version)
        return seen


_OF_LOAD = frozenset({"max_concurrency", "already_tried", "on_trial", "provider_just_failed"})
_OF_MONEY = frozenset({"budget", "price_unknown"})
_OF_QUOTA = frozenset({"quota", "running_dry"})
_OF_PROVIDER = frozenset({"provider_down", "provider_recovering"})


def _asked(policy: Policy, name: str) -> bool:
    return getattr(policy, name) not in {None, ()}


def _cost_within(_pool: Pool, _indices: Rows, scores: Scores[Floats], policy: Policy) -> Mask:
    bound = scores.cost_bound_nano_usd
    return np.asarray((bound >= 0.0) & (bound <= float(policy.max_cost_nano_usd or 0)))


def _latency_within(_pool: Pool, _indices: Rows, scores: Scores[Floats], policy: Policy) -> Mask:
    return np.asarray(scores.latency_us <= float(policy.max_latency_us or 0))


def _reliable_enough(_pool: Pool, _indices: Rows, scores: Scores[Floats], policy: Policy) -> Mask:
    return np.asarray(scores.reliability >= (policy.min_reliability or 0.0))


def _good_enough(_pool: Pool, _indices: Rows, scores: Scores[Floats], policy: Policy) -> Mask:
    return np.asarray(scores.quality >= (policy.min_quality or 0.0))


def _provider_allowed(pool: Pool, indices: Rows, _scores: Scores[Floats], policy: Policy) -> Mask:
    allowed = policy.providers or ()
    return np.array([pool.members[index].provider.provider_id in allowed for index in indices.tolist()])


def _provider_not_excluded(pool: Pool, indices: Rows, _scores: Scores[Floats], policy: Policy) -> Mask:
    banned = policy.excluded_providers
    return np.array([pool.members[index].provider.provider_id not in banned for index in indices.tolist()])


_CONSTRAINTS: tuple[tuple[str, Callable[[Pool, Rows, Scores[Floats], Policy], Mask]], ...] = (
    ("providers", _provider_allowed),
    ("excluded_providers", _provider_not_excluded),
    ("max_cost_nano_usd", _cost_within),
    ("max_latency_us", _latency_within),
    ("min_reliability", _reliable_enough),
    ("min_quality", _good_enough),
)

"""Who may be chosen: small named rules in order; the first that refuses a key names itself."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from apikeyrouter.domain.columns import KEY_STATES, Rows
from apikeyrouter.domain.events import Exclusion, Policy
from apikeyrouter.domain.pools import MOST_EXCLUSIONS, Pool
from apikeyrouter.domain.scoring import Scores
from apikeyrouter.domain.state import RouterState

every = np.logical_and.reduce
Mask = NDArray[np.bool_]


class Eligible(NamedTuple):
    """Indices into the pool of those that passed, and the account of those that did not."""

    indices: Rows
    excluded: dict[str, int]
    exclusions: tuple[Exclusion, ...]


def by_state(state: RouterState, pool: Pool, tried: Sequence[str]) -> Eligible:
    """Drop keys that rest, are switched off or rejected, or were tried for this request already."""
    mask = state.columns.available[pool.which]
    if not tried and every(mask):
        return Eligible(pool.everyone, pool.excluded, pool.exclusions)
    account = _Account(state, pool, pool.excluded)
    codes = state.columns.state_code[pool.rows]
    for code in np.flatnonzero(np.bincount(codes[~mask])).tolist():
        account.refuse(np.flatnonzero((codes == code) & ~mask), f"key_{KEY_STATES[code]}")
    tried_rows = [state.keys[key_id].row for key_id in tried]
    again = np.isin(pool.rows, tried_rows) & mask
    account.refuse(np.flatnonzero(again), "already_tried")
    return account.close(np.flatnonzero(mask & ~again))


def by_policy(state: RouterState, pool: Pool, eligible: Eligible, scores: Scores, policy: Policy) -> Eligible:
    """Drop keys that a constraint of the policy refuses."""
    constraints = [(name, rule) for name, rule in _CONSTRAINTS if _asked(policy, name)]
    if not constraints:
        return eligible
    account = _Account(state, pool, eligible.excluded)
    mask = np.ones(len(eligible.indices), dtype=np.bool_)
    for name, rule in constraints:
        refused = mask & ~rule(pool, eligible.indices, scores, policy)
        account.refuse(eligible.indices[refused], name)
        mask &= ~refused
    return account.close(eligible.indices[mask])


class _Account:
    """Counts refusals by rule, and names the first few keys with their evidence."""

    def __init__(self, state: RouterState, pool: Pool, excluded: dict[str, int]) -> None:
        self._state = state
        self._pool = pool
        self._excluded = dict(excluded)
        self._exclusions: list[Exclusion] = []

    def refuse(self, indices: Rows, rule: str) -> None:
        if not len(indices):
            return
        self._excluded[rule] = self._excluded.get(rule, 0) + len(indices)
        for index in indices[: MOST_EXCLUSIONS - len(self._exclusions)].tolist():
            key = self._pool.members[index].key
            evidence = self._state.columns.state_ref[key.row]
            self._exclusions.append(Exclusion(key_id=key.key_id, rule=rule, evidence=evidence))

    def close(self, indices: Rows) -> Eligible:
        exclusions = (*self._exclusions, *self._pool.exclusions)[:MOST_EXCLUSIONS]
        return Eligible(indices, self._excluded, exclusions)


def _asked(policy: Policy, name: str) -> bool:
    return getattr(policy, name) not in {None, ()}


def _cost_within(_pool: Pool, _indices: Rows, scores: Scores, policy: Policy) -> Mask:
    bound = scores.cost_bound_nano_usd
    return np.asarray((bound >= 0.0) & (bound <= float(policy.max_cost_nano_usd or 0)))


def _latency_within(_pool: Pool, _indices: Rows, scores: Scores, policy: Policy) -> Mask:
    return np.asarray(scores.latency_us <= float(policy.max_latency_us or 0))


def _reliable_enough(_pool: Pool, _indices: Rows, scores: Scores, policy: Policy) -> Mask:
    return np.asarray(scores.reliability >= (policy.min_reliability or 0.0))


def _good_enough(_pool: Pool, _indices: Rows, scores: Scores, policy: Policy) -> Mask:
    return np.asarray(scores.quality >= (policy.min_quality or 0.0))


def _provider_allowed(pool: Pool, indices: Rows, _scores: Scores, policy: Policy) -> Mask:
    allowed = policy.providers or ()
    return np.array([pool.members[index].provider.provider_id in allowed for index in indices.tolist()])


def _provider_not_excluded(pool: Pool, indices: Rows, _scores: Scores, policy: Policy) -> Mask:
    banned = policy.excluded_providers
    return np.array([pool.members[index].provider.provider_id not in banned for index in indices.tolist()])


_CONSTRAINTS: tuple[tuple[str, Callable[[Pool, Rows, Scores, Policy], Mask]], ...] = (
    ("providers", _provider_allowed),
    ("excluded_providers", _provider_not_excluded),
    ("max_cost_nano_usd", _cost_within),
    ("max_latency_us", _latency_within),
    ("min_reliability", _reliable_enough),
    ("min_quality", _good_enough),
)

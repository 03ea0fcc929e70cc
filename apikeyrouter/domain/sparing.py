"""Who may be chosen but had better not: soft rules, each of which applies only while somebody else remains.

So a key on trial, or one that runs dry, is spared in time and is never lost for good.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from apikeyrouter.domain.capacity import Capacity
from apikeyrouter.domain.columns import Rows
from apikeyrouter.domain.eligibility import Account, Eligible, Mask
from apikeyrouter.domain.forecasting import THRESHOLDS, CapacityState
from apikeyrouter.domain.pools import Pool
from apikeyrouter.domain.provider_health import Health
from apikeyrouter.domain.questions import RouteQuestion
from apikeyrouter.domain.state import RouterState

RUNNING_DRY = next(each.least_probability for each in THRESHOLDS if each.state is CapacityState.Critical)


def spare(
    state: RouterState, pool: Pool, question: RouteQuestion, eligible: Eligible, capacity: Capacity | None
) -> Eligible:
    """Leave out the keys that had better not be chosen, rule by rule, unless nobody would be left."""
    denied = state.denied.get(question.facts.model)
    if len(eligible.indices) == 1 or not (denied or _reasons(state, pool, question.avoided, capacity)):
        return eligible
    account = Account(state, pool, eligible.excluded, eligible.exclusions, among=eligible.indices)
    for name, unwanted in _rules(state, pool, question, capacity):
        refused = unwanted & account.mask
        if refused.any() and not np.array_equal(refused, account.mask):
            account.refuse(refused, name)
    return account.close() if account.refused else eligible


def _reasons(state: RouterState, pool: Pool, avoided: Sequence[str], capacity: Capacity | None) -> bool:
    """Tell whether any rule might apply; mostly none does, and this is cheap."""
    runs_dry = capacity is not None and bool((capacity.exhaustion >= RUNNING_DRY).any())
    special = pool.pinned is not None or pool.cheaper is not None
    return bool(avoided or state.columns.trials or state.unwell or special or runs_dry)


def _rules(
    state: RouterState, pool: Pool, question: RouteQuestion, capacity: Capacity | None
) -> Iterator[tuple[str, Mask]]:
    columns, rows = state.columns, pool.rows
    denied = state.denied.get(question.facts.model)
    if denied:
        yield "model_denied", np.isin(rows, sorted(denied))
    if pool.cheaper is not None:
        yield "over_budget", ~pool.cheaper
    if pool.pinned is not None:
        yield "other_key_pinned", ~pool.pinned
    if question.avoided:
        yield "provider_just_failed", _of_providers(pool, rows, question.avoided)
    recovering = [provider_id for provider_id in state.unwell if _is_busy_recovering(state, provider_id)]
    if recovering:
        yield "provider_recovering", _of_providers(pool, rows, recovering)
    if columns.trials:
        yield "on_trial", columns.on_trial[rows] & (columns.in_flight[rows] > 0.0)
    if capacity is not None:
        dry = np.zeros(len(rows), dtype=np.bool_)
        dry[capacity.accounting.limited] = capacity.exhaustion >= RUNNING_DRY
        yield "running_dry", dry


def _is_busy_recovering(state: RouterState, provider_id: str) -> bool:
    """Tell whether a provider that is tried again has a call out already: one is enough for a trial."""
    if state.health[provider_id].health is not Health.Recovering:
        return False
    return any(
        state.columns.in_flight[key.row] > 0.0
        for key in state.keys.values()
        if key.provider_id == provider_id
    )


def _of_providers(pool: Pool, rows: Rows, provider_ids: Sequence[str]) -> Mask:
    return np.fromiter(
        (member.key.provider_id in provider_ids for member in pool.members), dtype=np.bool_, count=len(rows)
    )

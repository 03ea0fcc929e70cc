"""Whether a request that nobody can serve now had better wait, and until when."""

from apikeyrouter.domain.capacity import asked
from apikeyrouter.domain.events import RequestFacts, RouteDeferred, RouteRefused
from apikeyrouter.domain.pools import Member, pool_for
from apikeyrouter.domain.questions import RouteQuestion
from apikeyrouter.domain.reopening import MOST_ASKED
from apikeyrouter.domain.state import RouterState

BEHIND_OTHERS = "behind_others"
FREED_BY_OTHERS = frozenset({"quota", "max_concurrency"})
"""The rules whose refusal may end before its time: when another request ends and gives back what it held."""


def until_capacity(state: RouterState, refused: RouteRefused, wait_us: int) -> RouteDeferred | None:
    """Let a refused request wait, if anything suggests that it can be served in time."""
    wait_until_us = refused.at_us + wait_us
    if refused.shortfall is not None:
        return None  # those behind it draw on other budgets, and must not wait for this one
    in_time = refused.retry_at_us is not None and refused.retry_at_us <= wait_until_us
    if not in_time and not _others_hold_it(state, refused):
        return None
    return RouteDeferred(
        at_us=refused.at_us,
        attempt=refused.attempt,
        facts=refused.facts,
        reason=refused.reason,
        retry_at_us=refused.retry_at_us,
        wait_until_us=wait_until_us,
        excluded=refused.excluded,
        exclusions=refused.exclusions,
    )


def behind_others(question: RouteQuestion, wait_us: int) -> RouteDeferred:
    """Let a request wait because others wait already."""
    return RouteDeferred(
        at_us=question.at_us,
        attempt=question.attempt,
        facts=question.facts,
        reason=BEHIND_OTHERS,
        wait_until_us=question.at_us + wait_us,
    )


def _others_hold_it(state: RouterState, refused: RouteRefused) -> bool:
    """Tell whether calls under way hold what a request lacks on some key: it may fit when they end."""
    if not FREED_BY_OTHERS & refused.excluded.keys():
        return False
    members = pool_for(state, refused.facts).members[:MOST_ASKED]
    return any(
        member.key.key_id not in refused.tried and _is_held(state, member, refused.facts)
        for member in members
    )


def _is_held(state: RouterState, member: Member, facts: RequestFacts) -> bool:
    key = member.key
    columns, accounts, amounts = state.columns, state.quotas.accounts, asked(facts)
    if not (columns.available[key.row] and columns.reachable[key.row]):
        return False
    is_held = bool(columns.in_flight[key.row] >= columns.most_in_flight[key.row])
    for row in state.quotas.rows_for(key.key_id, member.model):
        used, amount = accounts.used_now(row), amounts[state.quotas.places[row]]
        if max(used - accounts.reserved[row], 0) + amount > accounts.limit[row]:
            return False
        is_held |= bool(used + amount > accounts.limit[row])
    return is_held

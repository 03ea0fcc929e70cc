"""Where the past begins that nothing needs any more: older than the retention and every open window."""

from collections.abc import Iterator

import msgspec

from apikeyrouter.domain.account_columns import UNLIMITED
from apikeyrouter.domain.accounts import Accounts
from apikeyrouter.domain.state import RouterState

RETENTION = "retention"
ASKED = "until"


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """What is before `at_us` may go. `because` names what set it: the retention, a wish, or an account.

    Requests that one of `endless` accounts counts stay: its window is never over.
    """

    at_us: int
    because: str
    endless: frozenset[str]


def cut_of(state: RouterState, now_us: int, until_us: int | None = None) -> Cut | None:
    """Return where requests may be cut off now; None while the policy is to keep everything."""
    keep_us = state.retention.keep_us
    if keep_us is None:
        return None
    ends = [(now_us - keep_us, RETENTION), *_windows(state, now_us)]
    ends += [] if until_us is None else [(until_us, ASKED)]
    at_us, because = min(ends)
    return Cut(at_us=at_us, because=because, endless=frozenset(_endless(state)))


def _windows(state: RouterState, now_us: int) -> Iterator[tuple[int, str]]:
    """Yield where the present window of each account begins."""
    for accounts, row in _counting(state):
        limit = accounts.limit_of(row)
        if limit.window.unit != "total":
            yield accounts.report(row, now_us).starts_us, limit.account_id


def _endless(state: RouterState) -> Iterator[str]:
    for accounts, row in _counting(state):
        limit = accounts.limit_of(row)
        if limit.window.unit == "total":
            yield limit.account_id


def _counting(state: RouterState) -> Iterator[tuple[Accounts, int]]:
    """Yield the accounts that bound something."""
    quotas, budgets = state.quotas.accounts, state.budgets.accounts
    yield from ((quotas, row) for row in range(quotas.count) if quotas.limit.item(row) != UNLIMITED)
    yield from ((budgets, budget.row) for budget in state.budgets.by_row if not budget.is_closed)

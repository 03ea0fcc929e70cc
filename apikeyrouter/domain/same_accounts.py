"""Tell whether two states count the same amounts, from which all later money and quotas follow."""

from collections.abc import Iterator
from typing import Any

from apikeyrouter.domain.account_columns import UNLIMITED
from apikeyrouter.domain.accounts import Accounts
from apikeyrouter.domain.state import RouterState


def first_difference(one: RouterState, other: RouterState, now_us: int = 0) -> str | None:
    """Return the first account or open request in which two states differ; None if they are the same.

    Both are brought to the later of their presents, and to `now_us` at least.
    """
    if one.open_requests.keys() != other.open_requests.keys():
        return "the open requests"
    now_us = max(one.latest_us, other.latest_us, now_us)
    one.advance(now_us)
    other.advance(now_us)
    return next(_differences(one, other), None)


def _differences(one: RouterState, other: RouterState) -> Iterator[str]:
    yield from _accounts(one.quotas.accounts, other.quotas.accounts)
    closed = {budget.row for budget in one.budgets.by_row if budget.is_closed}
    yield from _accounts(one.budgets.accounts, other.budgets.accounts, closed)
    for row, budget in enumerate(one.budgets.by_row):
        its, others = (_told(state, row) for state in (one, other))
        if not budget.is_closed and its != others:
            yield budget.budget_id


def _accounts(
    one: Accounts, other: Accounts, closed: set[int] | frozenset[int] = frozenset()
) -> Iterator[str]:
    if one.count != other.count:
        yield "the accounts"
        return
    for row in range(one.count):
        uncounted = row in closed or one.limit.item(row) == other.limit.item(row) == UNLIMITED
        if not uncounted and _counted(one, row) != _counted(other, row):
            yield one.limit_of(row).account_id


def _counted(accounts: Accounts, row: int) -> tuple[Any, ...]:
    """Return what an account counts now, and when it leaves: whatever counts nothing is left out."""
    entries = tuple(
        (entry.amount, entry.ends_us, entry.is_held) for entry in accounts.entries_of(row) if entry.amount
    )
    columns = (accounts.limit, accounts.used, accounts.reserved, accounts.ends_us)
    return (*(column.item(row) for column in columns), accounts.missing_now(row), entries)


def _told(state: RouterState, row: int) -> tuple[Any, ...]:
    """Return of which threshold of a budget somebody was told, and whether somebody must be."""
    budget = state.budgets.by_row[row]
    told = budget.told_percent if state.latest_us < budget.told_until_us else 0
    return told, row in state.budgets.due, tuple(budget.credits)

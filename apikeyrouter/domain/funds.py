"""What is left of the budgets that a request draws on: does its bound fit, and which of them says no."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from apikeyrouter.domain.account_columns import UNLIMITED
from apikeyrouter.domain.budgets import Budgets
from apikeyrouter.domain.columns import Floats
from apikeyrouter.domain.events import EventRef, RequestFacts, Reserved, Shortfall, budget_stream
from apikeyrouter.domain.pools import Member, Pool
from apikeyrouter.domain.state import RouterState

lowest = np.minimum.reduce
highest = np.maximum.reduce
every = np.logical_and.reduce
Mask = NDArray[np.bool_]


class Funds(NamedTuple):
    """The budgets of one request: `rows` those that hold whoever serves it, hard and soft.

    `least` is what remains of the tightest hard one among them, `of_members` the same of those that only
    some members draw on; it is infinite for the others, and None where there are no such budgets.
    """

    rows: tuple[int, ...]
    is_hard: bool
    least: int
    of_members: Floats | None

    def cover(self, bound: Floats) -> bool:
        """Tell whether the bound of every member is known and fits, as far as hard budgets ask."""
        if self.is_hard and not (lowest(bound) >= 0.0 and highest(bound) <= self.least):
            return False
        return self.of_members is None or bool(every((bound >= 0.0) & (bound <= self.of_members)))

    def unpriced(self, bound: Floats) -> Mask:
        """Return the members without a known price that a hard budget would have to pay for."""
        pays = self.is_hard if self.of_members is None else self.is_hard | np.isfinite(self.of_members)
        return np.asarray((bound < 0.0) & pays)

    def too_dear(self, bound: Floats) -> Mask:
        """Return the members whose bound does not fit."""
        refused = bound > self.least if self.is_hard else np.zeros(len(bound), dtype=np.bool_)
        return np.asarray(refused if self.of_members is None else refused | (bound > self.of_members))


def funds_of(state: RouterState, pool: Pool, facts: RequestFacts) -> Funds | None:
    """Look at every budget that the request draws on; None where there is none."""
    budgets = state.budgets
    if not budgets.open or not pool.members:
        return None
    rows = (*budgets.rows_for(facts), *pool.budget_rows)
    least = UNLIMITED
    for row in rows:
        if budgets.is_hard[row]:
            least = min(least, budgets.remaining(row))
    of_members = None if pool.purses is None else _of_members(budgets, pool)
    if not rows and of_members is None and not pool.draws_on_budgets:
        return None
    return Funds(rows, any(budgets.is_hard[row] for row in rows), least, of_members)


def _of_members(budgets: Budgets, pool: Pool) -> Floats | None:
    purses = pool.purses
    assert purses is not None  # noqa: S101 - asked before
    accounts = budgets.accounts
    remaining = accounts.limit.take(purses.rows) - accounts.used.take(purses.rows)
    spread = np.full(len(pool.rows), np.inf)
    spread[purses.limited] = np.minimum.reduceat(remaining, purses.starts)
    return spread


def rows_of(state: RouterState, funds: Funds, pool: Pool, index: int) -> tuple[int, ...]:
    """Return all budgets that a request draws on if a certain member serves it."""
    return (*funds.rows, *(row for row in _own_rows(state, pool.members[index]) if row not in funds.rows))


def reserved_of(state: RouterState, rows: tuple[int, ...], bound: float) -> tuple[Reserved, ...]:
    """Hold the bound in each budget; what has no price holds nothing, and no hard budget lets it pass."""
    amount = int(max(bound, 0.0))
    return tuple(Reserved(budget_stream(state.budgets.by_row[row].budget_id), amount) for row in rows)


def over_budget(state: RouterState, rows: tuple[int, ...], bound: float) -> tuple[str, ...]:
    """Name the soft budgets that so much more may run over."""
    budgets = state.budgets
    return tuple(
        budgets.by_row[row].budget_id
        for row in rows
        if not budgets.is_hard[row] and budgets.remaining(row) < bound
    )


def tightest_ref(state: RouterState, rows: tuple[int, ...]) -> EventRef | None:
    """Return the event that last touched the budget of which the least remains."""
    budgets = state.budgets
    return budgets.refs[min(rows, key=budgets.remaining)] if rows else None


def shortfall_of(state: RouterState, pool: Pool, funds: Funds, bound: Floats) -> Shortfall | None:
    """Name the budget that keeps even the cheapest member out, and when it will let it in."""
    budgets = state.budgets
    blocking = [
        (amount, row)
        for index, amount in _priced(bound)
        for row in rows_of(state, funds, pool, index)
        if budgets.is_hard[row] and budgets.remaining(row) < amount
    ]
    if not blocking:
        return None
    needed = min(amount for amount, _ in blocking)
    row = min((row for amount, row in blocking if amount == needed), key=budgets.remaining)
    budget = budgets.by_row[row]
    return Shortfall(
        budget_id=budget.budget_id,
        scope=budget.scope,
        scope_id=budget.scope_id,
        limit_nano_usd=budget.limit_nano_usd,
        remaining_nano_usd=max(budgets.remaining(row), 0),
        needed_nano_usd=needed,
        fits_at_us=budgets.accounts.fits_at(row, needed, state.latest_us),
    )


def _priced(bound: Floats) -> Iterator[tuple[int, int]]:
    return ((index, int(amount)) for index, amount in enumerate(bound.tolist()) if amount >= 0.0)


def _own_rows(state: RouterState, member: Member) -> tuple[int, ...]:
    return state.budgets.rows_of_member(member.provider.provider_id, member.model, member.key.key_id)

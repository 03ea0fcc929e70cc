"""What is left of the budgets that a request draws on: does its bound fit, and which of them says no."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from apikeyrouter.domain.account_columns import NEVER_US, UNLIMITED
from apikeyrouter.domain.budgets import MOST_OF_A_CALL, Budgets
from apikeyrouter.domain.columns import Floats, highest, lowest
from apikeyrouter.domain.events import EventRef, RequestFacts, Reserved, Shortfall, budget_stream
from apikeyrouter.domain.pool_accounts import Purses
from apikeyrouter.domain.pools import Pool
from apikeyrouter.domain.state import RouterState

every = np.logical_and.reduce
FEW = 16
"""Up to so many members plain Python compares faster than numpy does."""

Mask = NDArray[np.bool_]


class Funds(NamedTuple):
    """The budgets of one request: `rows` those that hold whoever serves it, hard and soft.

    `tightest` is the one of which the least remains, `least` what remains of the tightest hard one among
    them, `of_members` the same of those that only some members draw on; it is infinite for the others, and
    None where there are no such budgets.
    """

    rows: tuple[int, ...]
    is_hard: bool
    least: int
    tightest: int | None
    of_members: Floats | None

    def cover(self, bound: Floats) -> bool:
        """Tell whether the bound of every member is known and fits, as far as hard budgets ask."""
        if self.is_hard and not self._all_fit(bound):
            return False
        return self.of_members is None or bool(every((bound >= 0.0) & (bound <= self.of_members)))

    def _all_fit(self, bound: Floats) -> bool:
        if len(bound) > FEW:
            return bool(lowest(bound) >= 0.0 and highest(bound) <= self.least)
        bounds = bound.tolist()
        return bool(min(bounds) >= 0.0 and max(bounds) <= self.least)

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
    if not rows and pool.own_budget_rows is None:
        return None
    least, is_hard = UNLIMITED, False
    left = [budgets.remaining(row) for row in rows]
    for row, remaining in zip(rows, left, strict=True):
        if budgets.is_hard[row]:
            is_hard = True
            least = min(least, remaining)
    tightest = rows[left.index(min(left))] if rows else None
    of_members = None if pool.purses is None else _of_members(budgets, pool.purses)
    return Funds(rows, is_hard, least, tightest, of_members)


def _of_members(budgets: Budgets, purses: Purses) -> Floats:
    accounts = budgets.accounts
    remaining = accounts.limit.take(purses.rows) - accounts.used.take(purses.rows)
    spread = np.full(purses.members, np.inf)
    spread[purses.limited] = np.minimum.reduceat(remaining, purses.starts)
    return spread


def rows_of(funds: Funds, pool: Pool, index: int) -> tuple[int, ...]:
    """Return all budgets that a request draws on if a certain member serves it."""
    return funds.rows if pool.own_budget_rows is None else (*funds.rows, *pool.own_budget_rows[index])


def reserved_of(state: RouterState, rows: tuple[int, ...], bound: float) -> tuple[Reserved, ...]:
    """Hold the bound in each budget; what has no price holds nothing, and no hard budget lets it pass."""
    budgets, amount = state.budgets, int(max(bound, 0.0))
    return tuple(
        Reserved(
            budget_stream(budgets.by_row[row].budget_id),
            amount if budgets.is_hard[row] else min(amount, MOST_OF_A_CALL),
        )
        for row in rows
    )


def over_budget(state: RouterState, rows: tuple[int, ...], bound: float) -> tuple[str, ...]:
    """Name the soft budgets that so much more may run over."""
    budgets = state.budgets
    return tuple(
        budgets.by_row[row].budget_id
        for row in rows
        if not budgets.is_hard[row] and budgets.remaining(row) < bound
    )


def tightest_ref(state: RouterState, funds: Funds | None, rows: tuple[int, ...]) -> EventRef | None:
    """Return the event that last touched the budget of which, among these rows, the least remains."""
    if funds is None or not rows:
        return None
    budgets = state.budgets
    if rows is funds.rows and funds.tightest is not None:
        return budgets.refs[funds.tightest]
    return budgets.refs[min(rows, key=budgets.remaining)]


def shortfall_of(state: RouterState, pool: Pool, funds: Funds, bound: Floats) -> Shortfall | None:
    """Name the budget that keeps out the member which fits first, the cheapest of these, and until when.

    A member fits when all its budgets let it in, so the last of them to do so is named.
    """
    budgets = state.budgets
    lasting = [
        (max((budgets.fits_at(row, needed), -budgets.remaining(row), row) for row in rows), needed)
        for needed, rows in _kept_out(state, pool, funds, bound)
    ]
    if not lasting:
        return None
    (fits_at_us, _, row), needed = min(lasting, key=_first_and_cheapest)
    budget = budgets.by_row[row]
    return Shortfall(
        budget_id=budget.budget_id,
        scope=budget.scope,
        scope_id=budget.scope_id,
        limit_nano_usd=budget.limit_nano_usd,
        remaining_nano_usd=max(budgets.remaining(row), 0),
        needed_nano_usd=needed,
        fits_at_us=None if fits_at_us >= NEVER_US else fits_at_us,
    )


def _kept_out(
    state: RouterState, pool: Pool, funds: Funds, bound: Floats
) -> set[tuple[int, tuple[int, ...]]]:
    """Return what each member needs with the hard budgets that it does not fit into, alike ones once."""
    budgets = state.budgets
    found = set()
    for index, needed in _priced(bound):
        rows = rows_of(funds, pool, index)
        blocking = tuple(row for row in rows if budgets.is_hard[row] and budgets.remaining(row) < needed)
        if blocking:
            found.add((needed, blocking))
    return found


def _first_and_cheapest(lasting: tuple[tuple[int, int, int], int]) -> tuple[int, int, int, int]:
    (fits_at_us, left, row), needed = lasting
    return fits_at_us, needed, left, row


def _priced(bound: Floats) -> Iterator[tuple[int, int]]:
    return ((index, int(amount)) for index, amount in enumerate(bound.tolist()) if amount >= 0.0)

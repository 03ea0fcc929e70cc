"""The budgets: which of them a request draws on, what they hold, and when somebody must be told.

Their accounts count nano-USD, as those of quotas count requests and tokens. Only the fold writes here.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from apikeyrouter.domain.account_columns import NEVER_US, Entry
from apikeyrouter.domain.accounts import Accounts, Holding
from apikeyrouter.domain.events import (
    BudgetAlerted,
    BudgetOpened,
    BudgetTerms,
    EventRef,
    RequestFacts,
    Reserved,
    budget_stream,
)
from apikeyrouter.domain.models.budget import BudgetScope, EnforcementMode
from apikeyrouter.domain.quota_limits import Dimension, Limit
from apikeyrouter.domain.windows import Kind, Unit, Window

MOST_REMEMBERED = 1_000
"""Clients may choose their names, so what is remembered by them is bounded."""

MOST_OF_A_CALL: Final = 10**15
"""What a call counts for at most, a million dollars, unless a hard budget held more: sums need 64 bits."""

NEVER_TOLD: Final = 1 << 62


class Budget(msgspec.Struct, kw_only=True):
    """One budget. `credits` are top-ups with their ends; `told_percent` is the highest threshold told of.

    What was told holds until `told_until_us`: then a new window, or one length of a rolling one, has begun.
    """

    budget_id: str
    scope: BudgetScope
    scope_id: str | None
    name: str | None
    terms: BudgetTerms
    row: int
    opened_us: int
    is_closed: bool = False
    credits: list[tuple[int, int]] = []
    told_percent: int = 0
    told_until_us: int = NEVER_US

    @property
    def is_hard(self) -> bool:
        """Tell whether it refuses what does not fit."""
        return self.terms.enforcement == EnforcementMode.Hard

    @property
    def window(self) -> Window:
        """The window that its amounts are counted in."""
        terms = self.terms
        kind, unit = msgspec.convert(terms.kind, Kind), msgspec.convert(terms.unit, Unit)
        return Window(kind, unit, terms.zone, terms.seconds)

    @property
    def limit_nano_usd(self) -> int:
        """What may be spent in the present window, top-ups included."""
        return self.terms.limit_nano_usd + sum(amount for _, amount in self.credits)


class Purse(msgspec.Struct, frozen=True, gc=False):
    """What one request holds of its budgets, and whether any of them is a hard one."""

    rows: tuple[int, ...]
    holding: Holding
    is_hard: bool


class Budgets:
    """Budgets by their rows, and beside each the event that last touched it."""

    def __init__(self) -> None:
        self.accounts = Accounts()
        self.by_id: dict[str, Budget] = {}
        self.by_row: list[Budget] = []
        self.refs: list[EventRef] = []
        self.is_hard: list[bool] = []
        self.open = 0
        self.due: dict[int, None] = {}
        self._alert_at: list[int] = []
        self._rows: dict[str, int] = {}
        self._by_scope: dict[tuple[str, str | None], tuple[int, ...]] = {}
        self._of_requests: dict[object, tuple[int, ...]] = {}
        self._credits_end_us = NEVER_US

    # --- what administrators do ----------------------------------------------------------------------

    def open_budget(self, budget_id: str, event: BudgetOpened, ref: EventRef) -> None:
        """Bound the spending of a scope."""
        budget = Budget(
            budget_id=budget_id,
            scope=BudgetScope(event.scope),
            scope_id=event.scope_id,
            name=event.name,
            terms=event.terms,
            row=len(self.by_row),
            opened_us=event.at_us,
        )
        self.by_id[budget_id] = budget
        self.by_row.append(budget)
        self.refs.append(ref)
        self.is_hard.append(budget.is_hard)
        self._alert_at.append(NEVER_TOLD)
        self._rows[budget_stream(budget_id)] = budget.row
        place = (budget.scope, budget.scope_id)
        self._by_scope[place] = (*self._by_scope.get(place, ()), budget.row)
        self._changed(budget, ref)
        self._arm(budget)
        self.open += 1

    def set_terms(self, budget_id: str, terms: BudgetTerms, ref: EventRef, purses: Iterable[Purse]) -> None:
        """Put other terms in place; what the purses of open requests hold moves into another window."""
        budget = self.by_id[budget_id]
        budget.terms = terms
        self.is_hard[budget.row] = budget.is_hard
        self._changed(budget, ref, [entry for purse in purses for entry in purse.holding.entries])
        self._arm(budget)
        self._watch(budget.row)

    def top_up(self, budget_id: str, amount: int, until_us: int | None, ref: EventRef) -> None:
        """Let more be spent until an instant."""
        budget = self.by_id[budget_id]
        ends_us = NEVER_US if until_us is None else until_us
        budget.credits = [*budget.credits, (ends_us, amount)]
        self._credits_end_us = min(self._credits_end_us, ends_us)
        self._changed(budget, ref)
        budget.told_percent = self._told_still(budget)
        self._set_alert(budget)

    def close_budget(self, budget_id: str, ref: EventRef) -> None:
        """Bound nothing any more."""
        budget = self.by_id[budget_id]
        budget.is_closed = True
        place = (budget.scope, budget.scope_id)
        self._by_scope[place] = tuple(row for row in self._by_scope[place] if row != budget.row)
        self.accounts.close(budget.row)
        self._alert_at[budget.row] = NEVER_TOLD
        self.due.pop(budget.row, None)
        self.refs[budget.row] = ref
        self._of_requests.clear()
        self.open -= 1

    def alerted(self, budget_id: str, event: BudgetAlerted) -> None:
        """Remember that somebody was told of a threshold."""
        budget = self.by_id[budget_id]
        budget.told_percent = event.percent
        if budget.terms.kind == "rolling" and budget.told_until_us == NEVER_US:
            budget.told_until_us = self.ends_us(budget)
        self.due.pop(budget.row, None)
        self._set_alert(budget)

    def advance(self, now_us: int) -> None:
        """Forget what has left its window; the present never goes back."""
        self.accounts.advance(now_us)
        if now_us >= self._credits_end_us:
            self._end_credits(now_us)

    # --- which budgets -------------------------------------------------------------------------------

    def rows_for(self, facts: RequestFacts) -> tuple[int, ...]:
        """Return the open budgets that a request draws on whoever serves it."""
        name = (facts.client_id, facts.team, facts.tags, facts.operation)
        rows = self._of_requests.get(name)
        if rows is None:
            if len(self._of_requests) >= MOST_REMEMBERED:
                self._of_requests.clear()
            rows = self._of_requests[name] = self._find(facts)
        return rows

    def rows_of_member(self, provider_id: str, model: str, key_id: str) -> tuple[int, ...]:
        """Return the open budgets that a request draws on because of who serves it."""
        return (
            *self._by_scope.get((BudgetScope.PerProvider, provider_id), ()),
            *self._by_scope.get((BudgetScope.PerKey, key_id), ()),
            *self._by_scope.get((BudgetScope.PerModel, model), ()),
        )

    def remaining(self, row: int) -> int:
        """Return what may still be spent of a budget."""
        return self.accounts.limit.item(row) - self.accounts.used.item(row)

    def ends_us(self, budget: Budget) -> int:
        """Return when the present window ends; a rolling one when all that is spent by now has left it."""
        if budget.terms.kind == "rolling":
            return self.accounts.now_us + budget.window.length_us
        return self.accounts.ends_us.item(budget.row)

    def fits_at(self, row: int, needed: int) -> int:
        """Return the first instant at which so much would fit, all top-ups ending in their time; or never."""
        lapsed, from_us = 0, self.accounts.now_us
        for ends_us, amount in (*sorted(self.by_row[row].credits), (NEVER_US, 0)):
            fits_at_us = self.accounts.fits_at(row, needed + lapsed, from_us)
            if fits_at_us is not None and fits_at_us < ends_us:
                return fits_at_us
            lapsed, from_us = lapsed + amount, max(from_us, ends_us)
        return NEVER_US

    # --- the two phases ------------------------------------------------------------------------------

    def reserve(self, reserved: Iterable[Reserved], at_us: int, ref: EventRef) -> Purse | None:
        """Hold what a decision reserved of budgets."""
        rows, amounts = [], []
        for one in reserved:
            row = self._rows.get(one.account)
            if row is not None:
                rows.append(row)
                amounts.append(one.amount)
                self.refs[row] = ref
        if not rows:
            return None
        is_hard = any(self.is_hard[row] for row in rows)
        return Purse(tuple(rows), self.accounts.reserve(rows, amounts, at_us), is_hard)

    def settle(self, purse: Purse, nano_usd: int, ref: EventRef) -> None:
        """Replace what was held by what was spent."""
        accounts, entries = self.accounts, purse.holding.entries
        spent = [nano_usd] * len(entries)
        if nano_usd > MOST_OF_A_CALL:
            spent = [min(nano_usd, max(entry.amount, MOST_OF_A_CALL)) for entry in entries]
        accounts.settle(purse.holding, spent)
        self._touched(purse, ref)

    def spend_more(self, purse: Purse, nano_usd: int, ref: EventRef) -> None:
        """Count what turned up after a purse was settled, where it was held: later windows may be full."""
        self.accounts.settle_more(purse.holding, min(nano_usd, MOST_OF_A_CALL))
        self._touched(purse, ref)

    def _touched(self, purse: Purse, ref: EventRef) -> None:
        for row in purse.rows:
            self.refs[row] = ref
            budget = self.by_row[row]
            if self.accounts.now_us >= budget.told_until_us:
                self._arm(budget)
            self._watch(row)

    # --- alerts --------------------------------------------------------------------------------------

    def settled(self, row: int) -> int:
        """Return what is spent and known in the present window."""
        return self.accounts.used.item(row) - self.accounts.reserved.item(row)

    def _arm(self, budget: Budget) -> None:
        """Begin to watch the thresholds of a new window."""
        rolls = budget.terms.kind == "rolling"
        budget.told_percent = 0
        budget.told_until_us = NEVER_US if rolls else self.accounts.ends_us.item(budget.row)
        self._set_alert(budget)

    def _watch(self, row: int) -> None:
        if self.settled(row) >= self._alert_at[row]:
            self.due[row] = None

    def _told_still(self, budget: Budget) -> int:
        """Return the highest threshold told of that is reached still; those out of reach are told anew."""
        limit, settled = budget.limit_nano_usd, self.settled(budget.row)
        told = [percent for percent in budget.terms.alerts_percent if percent <= budget.told_percent]
        reached = (percent for percent in told if threshold_nano_usd(limit, percent) <= settled)
        return max(reached, default=0)

    def _set_alert(self, budget: Budget) -> None:
        if budget.is_closed:
            return
        later = [percent for percent in budget.terms.alerts_percent if percent > budget.told_percent]
        amounts = (threshold_nano_usd(budget.limit_nano_usd, percent) for percent in later)
        self._alert_at[budget.row] = min(amounts, default=NEVER_TOLD)

    # --- within --------------------------------------------------------------------------------------

    def _changed(self, budget: Budget, ref: EventRef, held: Iterable[Entry] = ()) -> None:
        limit = Limit(
            account_id=budget_stream(budget.budget_id),
            dimension=Dimension.NanoUsd,
            amount=budget.limit_nano_usd,
            window=budget.window,
        )
        self.accounts.open(limit, held=held)
        self.refs[budget.row] = ref
        self._of_requests.clear()

    def _end_credits(self, now_us: int) -> None:
        ends = [NEVER_US]
        for budget in self.by_row:
            live = [(ends_us, amount) for ends_us, amount in budget.credits if ends_us > now_us]
            ends += [ends_us for ends_us, _ in live]
            if len(live) != len(budget.credits):
                budget.credits = live
                if not budget.is_closed:
                    self._changed(budget, self.refs[budget.row])
                    self._set_alert(budget)
        self._credits_end_us = min(ends)

    def _find(self, facts: RequestFacts) -> tuple[int, ...]:
        places: list[tuple[str, str | None]] = [(BudgetScope.Global, None)]
        places += [(BudgetScope.PerClient, facts.client_id)] if facts.client_id else []
        places += [(BudgetScope.PerTeam, facts.team)] if facts.team else []
        places += [(BudgetScope.PerTag, tag) for tag in facts.tags]
        places.append((BudgetScope.PerRoute, facts.operation))
        return tuple(row for place in places for row in self._by_scope.get(place, ()))


def threshold_nano_usd(limit_nano_usd: int, percent: int) -> int:
    """Return the amount from which on a threshold is reached."""
    return -(-limit_nano_usd * percent // 100)

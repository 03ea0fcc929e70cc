"""What may be done to budgets: each act is checked, and becomes an event or an error that says why not."""

from collections.abc import Iterator
from typing import Final

from apikeyrouter.domain.account_columns import NEVER_US
from apikeyrouter.domain.budget_terms import MOST_USD
from apikeyrouter.domain.budgets import Budget, threshold_nano_usd
from apikeyrouter.domain.events import (
    BudgetAlerted,
    BudgetClosed,
    BudgetOpened,
    BudgetTerms,
    BudgetTermsSet,
    BudgetToppedUp,
    EventRef,
)
from apikeyrouter.domain.models.budget import BudgetScope
from apikeyrouter.domain.models.system_error import ConflictError, InvalidRequestError
from apikeyrouter.domain.pricing import NANO_PER_USD
from apikeyrouter.domain.state import RouterState

LONGEST_NAME: Final = 128


def open_budget(
    terms: BudgetTerms,
    *,
    at_us: int,
    actor: str,
    scope: BudgetScope,
    scope_id: str | None = None,
    name: str | None = None,
) -> BudgetOpened:
    """Bound the spending of a scope, or raise `InvalidRequestError`: all but global need to say whose."""
    if (scope is BudgetScope.Global) != (scope_id is None):
        told = "takes no scope_id" if scope is BudgetScope.Global else "needs a scope_id: whose spending"
        raise InvalidRequestError(f"a budget of scope {scope} {told}", param="scope_id")
    for param, given in (("scope_id", scope_id), ("name", name)):
        if given is not None and not _is_name(given):
            raise InvalidRequestError(
                f"{param} must be 1 to {LONGEST_NAME} printable characters", param=param
            )
    return BudgetOpened(at_us=at_us, actor=actor, scope=scope, scope_id=scope_id, name=name, terms=terms)


def set_terms(
    budget: Budget, terms: BudgetTerms, *, at_us: int, actor: str, reason: str | None = None
) -> BudgetTermsSet | None:
    """Put other terms in place; None where they are in place already."""
    _check_open(budget)
    if terms == budget.terms:
        return None
    return BudgetTermsSet(at_us=at_us, actor=actor, terms=terms, reason=reason)


def top_up(
    budget: Budget,
    amount_nano_usd: int,
    *,
    at_us: int,
    ends_us: int,
    actor: str,
    reason: str | None = None,
) -> BudgetToppedUp:
    """Let more be spent until `ends_us`, when the present window is over."""
    _check_open(budget)
    if amount_nano_usd <= 0:
        raise InvalidRequestError("a top-up must be above zero", param="amount")
    if budget.limit_nano_usd + amount_nano_usd > MOST_USD * NANO_PER_USD:
        raise InvalidRequestError("a budget holds a billion US dollars at most", param="amount")
    until_us = None if ends_us >= NEVER_US else ends_us
    return BudgetToppedUp(
        at_us=at_us, actor=actor, amount_nano_usd=amount_nano_usd, until_us=until_us, reason=reason
    )


def close_budget(budget: Budget, *, at_us: int, actor: str, reason: str | None = None) -> BudgetClosed:
    """Bound nothing any more."""
    _check_open(budget)
    return BudgetClosed(at_us=at_us, actor=actor, reason=reason)


def alerts_due(state: RouterState, at_us: int, evidence: EventRef) -> Iterator[tuple[str, BudgetAlerted]]:
    """Yield an alert for each budget that has reached a threshold which was not told of in its window."""
    budgets = state.budgets
    for row in list(budgets.due):
        budget, settled = budgets.by_row[row], budgets.settled(row)
        limit = budget.limit_nano_usd
        reached = [
            percent
            for percent in budget.terms.alerts_percent
            if percent > budget.told_percent and threshold_nano_usd(limit, percent) <= settled
        ]
        if not reached:
            continue
        ends_us = budgets.accounts.ends_us.item(row)
        yield (
            budget.budget_id,
            BudgetAlerted(
                at_us=at_us,
                percent=max(reached),
                settled_nano_usd=settled,
                limit_nano_usd=limit,
                window_ends_us=None if ends_us >= NEVER_US else ends_us,
                evidence=(evidence,),
            ),
        )


def _is_name(given: object) -> bool:
    return isinstance(given, str) and given.isprintable() and 0 < len(given) <= LONGEST_NAME


def _check_open(budget: Budget) -> None:
    if budget.is_closed:
        raise ConflictError(f"budget {budget.budget_id} is closed; open another", param="budget_id")

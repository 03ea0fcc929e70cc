"""What metrics show of the state as it stands: quotas, budgets, and the health of providers.

Unlike what is counted, it changes with time alone, so it is read from the state, in the loop's own thread.
"""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from apikeyrouter.application.proof.standing import SealStanding
from apikeyrouter.domain.accounts import AccountReport
from apikeyrouter.domain.budgets import Budget
from apikeyrouter.domain.provider_health import Health
from apikeyrouter.domain.state import RouterState
from apikeyrouter.limits import MOST_METRIC_ACCOUNTS, MOST_METRIC_BUDGETS, MOST_METRIC_PROVIDERS


class Quota(NamedTuple):
    """An account by its labels, and its two figures."""

    labels: tuple[str, str, str, str]
    limit: int
    remaining: int


class Funds(NamedTuple):
    """A budget by its labels, and its figures in nano-USD."""

    labels: tuple[str, str]
    limit: int
    spent: int
    reserved: int
    remaining: int


class Standing(NamedTuple):
    """What has series of its own, how many there are of each kind, every provider's health, and the seals."""

    quotas: tuple[Quota, ...]
    accounts: int
    health: dict[str, str]
    budgets: tuple[Funds, ...]
    open_budgets: int
    seals: SealStanding | None = None


NOTHING_STANDS = Standing((), 0, {}, (), 0)


def standing_of(state: RouterState, now_us: int) -> Standing:
    """Read the state; accounts are shown in the order of their opening, so that no series comes and goes."""
    accounts = state.quotas.accounts
    held = {limit.account_id for limits in state.quotas.limits.values() for limit in limits}
    known = (accounts.row_of(account_id) for account_id in held)
    rows = sorted(row for row in known if row is not None)
    shown = (accounts.report(row, now_us) for row in rows[:MOST_METRIC_ACCOUNTS])
    healthy = dict.fromkeys(islice(state.providers, MOST_METRIC_PROVIDERS), str(Health.Healthy))
    told = {name: str(one.health) for name, one in state.health.items() if name in healthy}
    return Standing(
        quotas=tuple(quota for report in shown if (quota := _quota(report)) is not None),
        accounts=len(rows),
        health={**healthy, **told},
        budgets=tuple(_funds(state, budget, now_us) for budget in islice(_open(state), MOST_METRIC_BUDGETS)),
        open_budgets=state.budgets.open,
    )


def _quota(report: AccountReport) -> Quota | None:
    if report.limit is None or report.remaining is None:
        return None
    owner = report.account_id.partition("/")[0]
    labels = (owner, str(report.dimension), report.window.unit, "|".join(report.models or ()))
    return Quota(labels, report.limit, report.remaining)


def _open(state: RouterState) -> Iterator[Budget]:
    return (budget for budget in state.budgets.by_row if not budget.is_closed)


def _funds(state: RouterState, budget: Budget, now_us: int) -> Funds:
    """Read a budget. Names are no labels: whoever may scrape need not know who the clients are."""
    report = state.budgets.accounts.report(budget.row, now_us)
    topped_up = sum(amount for ends_us, amount in budget.credits if ends_us > now_us)
    limit = budget.terms.limit_nano_usd + topped_up
    return Funds(
        labels=(budget.budget_id, str(budget.scope)),
        limit=limit,
        spent=report.settled,
        reserved=report.reserved,
        remaining=max(limit - report.settled - report.reserved, 0),
    )

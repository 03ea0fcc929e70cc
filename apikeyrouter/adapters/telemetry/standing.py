"""What metrics show of the state as it stands: the quotas and the health of providers.

Unlike what is counted, it changes with time alone, so it is read from the state, in the loop's own thread.
"""

from itertools import islice
from typing import NamedTuple

from apikeyrouter.domain.accounts import AccountReport
from apikeyrouter.domain.provider_health import Health
from apikeyrouter.domain.state import RouterState
from apikeyrouter.limits import MOST_METRIC_ACCOUNTS, MOST_METRIC_PROVIDERS


class Quota(NamedTuple):
    """An account by its labels, and its two figures."""

    labels: tuple[str, str, str, str]
    limit: int
    remaining: int


class Standing(NamedTuple):
    """The accounts that have a series of their own, how many there are, and every provider's health."""

    quotas: tuple[Quota, ...]
    accounts: int
    health: dict[str, str]


NOTHING_STANDS = Standing((), 0, {})


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
    )


def _quota(report: AccountReport) -> Quota | None:
    if report.limit is None or report.remaining is None:
        return None
    owner = report.account_id.partition("/")[0]
    labels = (owner, str(report.dimension), report.window.unit, "|".join(report.models or ()))
    return Quota(labels, report.limit, report.remaining)

"""What an alert says, to log lines and to receivers: who may spend how much, and how much of it is gone."""

from typing import Any

import msgspec

from apikeyrouter.domain.budgets import Budgets
from apikeyrouter.domain.events import BudgetAlerted, Recorded
from apikeyrouter.domain.pricing import dollars, usd
from apikeyrouter.domain.windows import instant, moment

KIND = "budget.alerted"


def alert_id(recorded: Recorded) -> str:
    """Name an alert by its place in the log: the same for every delivery of it."""
    return f"{recorded.stream}@{recorded.version}"


def line_of(recorded: Recorded, alert: BudgetAlerted, budgets: Budgets) -> dict[str, Any]:
    """Return the fields of the log line."""
    ends_us = alert.window_ends_us
    return {
        "alert_id": alert_id(recorded),
        **_budget(recorded, budgets),
        "percent": alert.percent,
        "spent_usd": f"{usd(alert.settled_nano_usd):f}",
        "limit_usd": f"{usd(alert.limit_nano_usd):f}",
        "window_ends_at": None if ends_us is None else moment(ends_us).isoformat(),
    }


def body_of(recorded: Recorded, alert: BudgetAlerted, budgets: Budgets) -> bytes:
    """Return what is posted, as JSON: the fields of the line, and a sentence for people."""
    told = {
        "type": KIND,
        **line_of(recorded, alert, budgets),
        "at": moment(alert.at_us).isoformat(),
        "position": recorded.position,
        "text": _sentence(recorded, alert, budgets),
    }
    return msgspec.json.encode(told)


def _budget(recorded: Recorded, budgets: Budgets) -> dict[str, Any]:
    budget = budgets.by_id[recorded.stream.removeprefix("budget-")]
    return {
        "budget_id": budget.budget_id,
        "budget_name": budget.name,
        "scope": str(budget.scope),
        "scope_id": budget.scope_id,
        "enforcement_mode": str(budget.terms.enforcement),
    }


def _sentence(recorded: Recorded, alert: BudgetAlerted, budgets: Budgets) -> str:
    told = _budget(recorded, budgets)
    whose = " ".join(part for part in (told["scope"], told["scope_id"]) if part is not None)
    named = "" if told["budget_name"] is None else f' "{told["budget_name"]}"'
    spent, limit = dollars(alert.settled_nano_usd), dollars(alert.limit_nano_usd)
    ends = "" if alert.window_ends_us is None else f" Its window ends at {instant(alert.window_ends_us)}."
    return (
        f"The {told['enforcement_mode']} budget{named} ({whose}) has reached {alert.percent} %: {spent} of"
        f" {limit} are spent.{ends}"
    )

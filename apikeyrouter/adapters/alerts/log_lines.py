"""A log line for every alert, as it becomes durable."""

from collections.abc import Callable, Sequence

from apikeyrouter.adapters.alerts.message import line_of
from apikeyrouter.application.notices import notices
from apikeyrouter.application.ports import Follower
from apikeyrouter.domain.budgets import Budgets
from apikeyrouter.domain.events import BudgetAlerted, Recorded


def alert_lines(budgets: Callable[[], Budgets]) -> Follower:
    """Return a follower of the log that writes the lines."""

    def follow(batch: Sequence[Recorded]) -> None:
        for recorded in batch:
            if isinstance(recorded.event, BudgetAlerted):
                notices().warning("budget_alert", **line_of(recorded, recorded.event, budgets()))

    return follow

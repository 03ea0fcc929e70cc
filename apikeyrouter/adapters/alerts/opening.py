"""Let a node tell of budgets that run out: log lines always, a webhook where one is set."""

import asyncio
from typing import TYPE_CHECKING

from apikeyrouter.adapters.alerts.bookmark import Bookmark
from apikeyrouter.adapters.alerts.log_lines import alert_lines
from apikeyrouter.application.journal import Journal
from apikeyrouter.domain.budgets import Budgets
from apikeyrouter.settings import RouterSettings

if TYPE_CHECKING:
    from apikeyrouter.adapters.alerts.webhook import Webhook


class Alerts:
    """What tells of alerts, for as long as the node runs."""

    def __init__(self, webhook: "Webhook | None") -> None:
        self._webhook = webhook

    async def close(self) -> None:
        """Let what is under way arrive, and end."""
        if self._webhook is not None:
            await self._webhook.close()


async def open_alerts(settings: RouterSettings, journal: Journal) -> Alerts:
    """Follow the log of an open journal, and deliver what an earlier process did not."""
    log = journal.log

    def budgets() -> Budgets:
        return journal.state.budgets

    log.follow(alert_lines(budgets))
    if settings.alert_webhook_url is None:
        return Alerts(None)
    from apikeyrouter.adapters.alerts.webhook import Webhook  # noqa: PLC0415 - httpx, only where it posts

    path = None if settings.database_path is None else settings.database_path.resolve()
    bookmark = await asyncio.to_thread(Bookmark, path, log.head)
    webhook = Webhook(
        settings.alert_webhook_url.get_secret_value(), reader=log, budgets=budgets, bookmark=bookmark
    )
    log.follow(webhook.follow)
    webhook.start()
    return Alerts(webhook)

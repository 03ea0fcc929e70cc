"""What tests of alerts share: a log with a budget, a webhook beside it, and the lines that are logged."""

import contextlib
import io
import json
import logging
import sys
import threading

import structlog

from apikeyrouter.adapters.alerts.bookmark import Bookmark
from apikeyrouter.adapters.alerts.webhook import Pace, Webhook
from apikeyrouter.adapters.eventlog.memory_log import MemoryLog
from apikeyrouter.adapters.telemetry.logging import configure_logging
from apikeyrouter.adapters.telemetry.redaction import Redactor
from apikeyrouter.domain.events import BudgetAlerted, BudgetOpened, BudgetTerms, NewEvent
from apikeyrouter.domain.state import RouterState

AT_US = 1_795_000_000_000_000
QUICK = Pace(timeout_s=0.2, pauses_s=(0.001, 0.002), most_queued=100)
PATIENT = Pace(timeout_s=30.0, pauses_s=(3600.0,), most_queued=100)


class World:
    """A log in memory with a budget, its state, and a webhook beside it."""

    def __init__(self, folder=None):
        self.log, self.state = MemoryLog(), RouterState()
        self.path = None if folder is None else folder / "log.db"
        self.webhook = None
        self.budget("one")

    def record(self, stream, event):
        version = self.state.next_version(stream)
        self.log.append([NewEvent(stream, version, event)])
        self.state.apply([NewEvent(stream, version, event)])

    def budget(self, name):
        terms = BudgetTerms(limit_nano_usd=50_000_000_000, unit="month", enforcement="hard")
        opened = BudgetOpened(at_us=AT_US, actor="test", scope="team", scope_id=name, name=name, terms=terms)
        self.record(f"budget-{name}", opened)

    def alert(self, percent=80, budget="one"):
        alert = BudgetAlerted(
            at_us=AT_US,
            percent=percent,
            settled_nano_usd=40_000_000_000,
            limit_nano_usd=50_000_000_000,
            window_ends_us=AT_US + 60_000_000,
        )
        self.record(f"budget-{budget}", alert)

    @contextlib.asynccontextmanager
    async def telling(self, url, pace=QUICK):
        """Run a webhook, as a process of its own would."""
        bookmark = Bookmark(self.path, self.log.head)
        webhook = Webhook(
            url, reader=self.log, budgets=lambda: self.state.budgets, bookmark=bookmark, pace=pace
        )
        followers = self.log._followers._followers
        self.log.follow(webhook.follow)
        webhook.start()
        self.webhook = webhook
        try:
            yield webhook
        finally:
            await webhook.close()
            followers.remove(webhook.follow)


@contextlib.contextmanager
def logged():
    """Log as a server does; yields a function that returns the lines so far."""
    sink, root = io.BytesIO(), logging.getLogger()
    before = (list(root.handlers), root.level, sys.excepthook, threading.excepthook)
    configure_logging("debug", "json", redactor=Redactor(), stream=sink)
    try:
        yield lambda: [json.loads(line) for line in sink.getvalue().splitlines()]
    finally:
        structlog.reset_defaults()
        logging.captureWarnings(False)
        root.handlers[:], root.level, sys.excepthook, threading.excepthook = before

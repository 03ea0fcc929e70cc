"""What the tests of retention start from: logs that were written over months, in no time."""

import contextlib
import time
from pathlib import Path
from types import SimpleNamespace

from quota_givens import asking

from apikeyrouter.adapters import ambient
from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.adapters.proof.opening import evidence_of
from apikeyrouter.adapters.providers.openai import OpenAIAdapter
from apikeyrouter.application.proof.verification import verify
from apikeyrouter.application.retention.letting import Step
from apikeyrouter.bootstrap import open_node
from apikeyrouter.domain.budget_terms import parse_terms
from apikeyrouter.domain.models.budget import BudgetScope
from apikeyrouter.domain.models.system_error import SystemError as RouterError
from apikeyrouter.domain.offers import parse_offers
from apikeyrouter.domain.windows import DAY_US, HOUR_US
from apikeyrouter.interfaces.scripted_provider import KeyScript, Script, ThreadedProvider
from apikeyrouter.settings import RouterSettings

EPOCH_US = 1_780_056_000 * 1_000_000
"""A noon in May 2026: the present of these tests, a month's second half."""

OFFER = {"model": "swift-1", "input_usd_per_mtok": 3, "output_usd_per_mtok": 6}
SCRIPT = Script(keys={"good": KeyScript(key="sk-test-good")}, output_tokens=8)
ACTOR = "compliance"


class Calendar:
    """The time of every node in this process, as the test says; ids tell it too."""

    def __init__(self, monkeypatch) -> None:
        self.now_us = EPOCH_US
        watch = SimpleNamespace(time_ns=lambda: self.now_us * 1000, monotonic_ns=time.monotonic_ns)
        monkeypatch.setattr(ambient, "time", watch)

    def days_ago(self, days: float) -> None:
        """Set it so many days before the present of these tests."""
        self.now_us = EPOCH_US - int(days * DAY_US)


def settings_of(path: Path, **changes) -> RouterSettings:
    """Return the settings of a log that is sealed fast, and need not survive a power cut."""
    given = {"synchronous": "NORMAL", "seal_interval_s": 0.05, **changes}
    return RouterSettings(database_url=str(path), **given)


@contextlib.asynccontextmanager
async def living(path: Path, **changes):
    """Open a node on a log until the block ends."""
    node = await open_node(settings_of(path, **changes))
    try:
        yield node
    finally:
        await node.close()


async def ask(node, client: str | None = "acme") -> str | None:
    """Route one request of a client; return its id, None where it was refused."""
    wanted = asking(client, model="swift-1")
    with contextlib.suppress(RouterError):
        passage, _ = await node.route.execute(wanted)
        return passage.request_id
    return None


async def old_log(path: Path, calendar: Calendar, *, requests: int = 24, settings=None) -> list[str]:
    """Write a log whose first life is 70 days old and whose second is today; return the old requests' ids."""
    with ThreadedProvider(SCRIPT) as provider:
        calendar.days_ago(70)
        async with living(path, **(settings or {})) as node:
            adapter = OpenAIAdapter(base_url=provider.base_url, models=parse_offers([OFFER]))
            await node.manage.register_provider("openai", adapter, actor="test")
            limits = {"rpm": 600, "tpm": 100_000, "rpd": 5000}
            key = await node.manage.register_key("sk-test-good", "openai", limits, actor="test")
            terms = parse_terms("50", "monthly", "hard")
            await node.budgets.open(terms, actor="test", scope=BudgetScope.Global, name="all")
            ids = []
            for number in range(requests):
                if number == requests // 2:  # what administrators did stays, in the middle of what goes
                    await node.manage.pin_key(key.key_id, actor="test")
                ids.append(await ask(node, "acme" if number % 3 else "zenith"))
                calendar.now_us += HOUR_US
        calendar.days_ago(1)
        async with living(path, **(settings or {})) as node:
            for _ in range(6):
                await ask(node)
                calendar.now_us += HOUR_US
    calendar.days_ago(0)
    return ids


async def drop(node, **asked):
    """Run what `retention apply` runs, to its end."""
    run = node.retaining.dropping.begin(actor=ACTOR, **asked)
    await node.retaining.dropping.wait()
    return run


async def dropped_log(path: Path, calendar: Calendar, *, keep_days: int = 30, **asked) -> list[str]:
    """Write an old log and drop what is older than some days; return the ids of what is gone."""
    ids = await old_log(path, calendar)
    async with living(path) as node:
        await node.retaining.set(keep_days * DAY_US, actor=ACTOR)
        run = await drop(node, **asked)
        assert (run.step, run.reason) == (Step.Done, None), run
    return ids


def verdict_of(path: Path):
    """Verify a log as it lies there."""
    return verify(evidence_of(settings_of(path), path))


def streams_in(path: Path) -> set[str]:
    """Name the streams that the log has."""
    return {recorded.stream for recorded in SqliteReader(path).read()}

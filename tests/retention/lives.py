"""Lives of a log that requests have left: upgraded, without its segments, with them again."""

import shutil
from pathlib import Path

from retained_logs import HOUR_US, OFFER, SCRIPT, ask, living, settings_of

from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.adapters.proof.opening import evidence_of
from apikeyrouter.adapters.providers.openai import OpenAIAdapter
from apikeyrouter.adapters.retention.restoring import restore
from apikeyrouter.adapters.retention.whole_log import WholeLog
from apikeyrouter.adapters.snapshots.opening import open_snapshots
from apikeyrouter.application.replay import verify_past
from apikeyrouter.domain.events import StateRefolded
from apikeyrouter.domain.offers import parse_offers
from apikeyrouter.interfaces.scripted_provider import ThreadedProvider


def segments_of(log: Path) -> Path:
    return log.with_name("log.db.segments")


def away_of(log: Path) -> Path:
    return log.with_name("elsewhere")


def upgrade(log: Path) -> None:
    """Leave no snapshot that fits, as another version of the program does."""
    shutil.rmtree(log.with_name("log.db.snapshots"), ignore_errors=True)


def take_away(log: Path) -> None:
    """Move the segments elsewhere."""
    away_of(log).mkdir(exist_ok=True)
    for path in segments_of(log).iterdir():
        path.rename(away_of(log) / path.name)


def bring_back(log: Path) -> None:
    for path in away_of(log).iterdir():
        path.rename(segments_of(log) / path.name)


async def serve(log: Path, calendar, requests: int = 3) -> list[str]:
    """Live once on a log: requests that are answered, an hour between them."""
    with ThreadedProvider(SCRIPT) as provider:
        async with living(log) as node:
            adapter = OpenAIAdapter(base_url=provider.base_url, models=parse_offers([OFFER]))
            await node.manage.register_provider("openai", adapter, actor="test")
            ids = []
            for _ in range(requests):
                ids.append(await ask(node))
                calendar.now_us += HOUR_US
    assert None not in ids
    return ids


def past_of(log: Path) -> WholeLog:
    return WholeLog(SqliteReader(log), log)


def verified(log: Path, first: int = 1, last: int | None = None):
    reader = SqliteReader(log)
    return verify_past(past_of(log), first=first, last=last or reader.head())


def snapshots_of(log: Path):
    return open_snapshots(settings_of(log))


def refolds_in(log: Path) -> list:
    return [one for one in SqliteReader(log).read() if isinstance(one.event, StateRefolded)]


def every_event(log: Path) -> list:
    """Return every event that there ever was, read from a restored copy."""
    into = log.with_name("every.db")
    if not into.exists():
        restore(evidence_of(settings_of(log), log), log, list(segments_of(log).iterdir()), into)
    return list(SqliteReader(into).read())

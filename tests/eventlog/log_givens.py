"""What the event log's tests start from: events of any size, and files that other programs have touched."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path

from apikeyrouter.domain.events import LogRecovered, NewEvent
from apikeyrouter.errors import LogUnavailableError


def new(stream: str, version: int, size: int = 0) -> NewEvent:
    """Return an event of a stream, padded to a size in bytes."""
    return NewEvent(stream, version, LogRecovered(at_us=version, node_id="n" * size, outage_us=0))


def run_of(stream: str, count: int, first_version: int = 1, size: int = 0) -> list[NewEvent]:
    """Return the next events of a stream."""
    return [new(stream, version, size) for version in range(first_version, first_version + count)]


def by_another_program(path: Path, sql: str, *values: object) -> None:
    """Change the file behind the log's back."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(sql, values)


async def append_until_refused(log, stream: str = "filling", size: int = 900) -> int:
    """Append until an append fails; return how many events were acknowledged."""
    async with asyncio.timeout(20):
        version = 0
        while True:
            try:
                await log.append([new(stream, version + 1, size)])
            except LogUnavailableError:
                return version
            version += 1


def positions(log) -> list[int]:
    """Return the positions of all stored events."""
    return [recorded.position for recorded in log.read()]


def files_in(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder with its contents."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}

"""Read a log's file beside a running server, after a crash, or long after the server is gone."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from apikeyrouter.adapters.eventlog.connections import open_reader, shm_path, wal_path
from apikeyrouter.adapters.eventlog.mapper import from_stored
from apikeyrouter.adapters.eventlog.recorder import SELECT_EVENTS
from apikeyrouter.domain.events import Recorded
from apikeyrouter.domain.models.system_error import LogUnavailableError
from apikeyrouter.limits import MOST_PAGE_EVENTS

_PAGE = "WHERE notification_id > ? AND notification_id <= ? ORDER BY notification_id LIMIT ?"
_SELECT_PAGE = f"{SELECT_EVENTS} {_PAGE}"
_SELECT_STREAM = f"{SELECT_EVENTS} WHERE originator_id = ? ORDER BY originator_version"
_SELECT_HEAD = "SELECT coalesce(max(notification_id), 0) FROM stored_events"
_LAST_POSITION = 2**63 - 1
_ATTEMPTS = 10

Row = tuple[int, str, int, str, bytes]


class SqliteReader:
    """Implements `EventReader` with connections of its own, which never write."""

    def __init__(self, path: Path | str) -> None:
        self._path = Path(os.path.realpath(path))
        Pages(self._path).close()  # tells at once if there is no log

    def read(self, after: int = 0, until: int | None = None) -> Iterator[Recorded]:
        """Yield the events with `after < position <= until`, those included that are stored meanwhile."""
        last = _LAST_POSITION if until is None else until
        with contextlib.closing(Pages(self._path)) as pages:
            while rows := pages.select(_SELECT_PAGE, (after, last, MOST_PAGE_EVENTS)):
                yield from _recorded(rows)
                after = rows[-1][0]

    def head(self) -> int:
        """Return the position of the last event; 0 if there is none."""
        with contextlib.closing(Pages(self._path)) as pages:
            return pages.select(_SELECT_HEAD, ())[0][0]

    def stream(self, stream: str) -> list[Recorded]:
        """Return one stream from its first event; empty if there is none."""
        with contextlib.closing(Pages(self._path)) as pages:
            return list(_recorded(pages.select(_SELECT_STREAM, (stream,))))


class Pages:
    """Selects rows from a file that a writer may open or close meanwhile."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open()

    def select(self, sql: str, values: tuple[Any, ...]) -> list[Row]:
        """Return rows of one consistent state of the file."""
        for _ in range(_ATTEMPTS):
            rows = self._attempt(sql, values)
            if rows is not None:
                return rows
            self.close()
            self._open()
        raise LogUnavailableError("the event log cannot be read: it is opened and closed all the time")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _open(self) -> None:
        self._resting_as = resting_stamp(self._path)
        self._connection = open_reader(self._path, resting=self._resting_as is not None)

    def _attempt(self, sql: str, values: tuple[Any, ...]) -> list[Row] | None:
        try:
            rows: list[Row] = self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            if self._disturbed():
                return None
            raise LogUnavailableError(f"the event log cannot be read: {error}") from error
        return None if self._disturbed() else rows

    def _disturbed(self) -> bool:
        """Tell if a file that was opened as resting has been written since."""
        return self._resting_as is not None and self._resting_as != resting_stamp(self._path)


def resting_stamp(path: Path) -> tuple[int, ...] | None:
    """Return what changes with every change of a file that nobody has open; None while somebody has."""
    with contextlib.suppress(FileNotFoundError):
        if wal_path(path).stat().st_size or shm_path(path).exists():
            return None
    with contextlib.suppress(OSError):
        stat = path.stat()
        return stat.st_ino, stat.st_mtime_ns, stat.st_size
    return ()


def _recorded(rows: list[Row]) -> Iterator[Recorded]:
    for position, stream, version, name, state in rows:
        yield Recorded(position, stream, version, from_stored(stream, version, name, state))

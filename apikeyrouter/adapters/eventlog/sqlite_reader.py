"""Read a log's file beside a running server, after a crash, or long after the server is gone."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
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
_SELECT_EVENT = f"{SELECT_EVENTS} WHERE originator_id = ? AND originator_version = ?"
_SELECT_STRETCH = f"{SELECT_EVENTS} WHERE notification_id > ? AND notification_id <= ? AND ({{streams}})"
_SELECT_OF_STREAMS = (
    # Positions stand in the index of streams too: compared there alone (+), few rows are looked up.
    f"{SELECT_EVENTS} WHERE originator_id >= ? AND originator_id < ?"
    " AND +notification_id > ? AND +notification_id <= ?"
)
_BEGINS_SO = "+originator_id >= ? AND +originator_id < ?"
_MOST_READ_IN_ORDER = 5_000
_SELECT_HEAD = "SELECT coalesce(max(notification_id), 0) FROM stored_events"
_LAST_POSITION = 2**63 - 1
_LAST_CHARACTER = chr(0x10FFFF)
_ATTEMPTS = 10

Row = tuple[int, str, int, str, bytes]


class SqliteReader:
    """Implements `EventReader` with connections of its own, which never write."""

    def __init__(self, path: Path | str) -> None:
        self._path = Path(os.path.realpath(path))
        Pages(self._path).close()  # tells at once if there is no log

    @property
    def path(self) -> Path:
        """The log's file under its real name."""
        return self._path

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

    def event(self, stream: str, version: int) -> Recorded | None:
        """Return one event by its place in its stream; None if the log does not have it."""
        with contextlib.closing(Pages(self._path)) as pages:
            return next(_recorded(pages.select(_SELECT_EVENT, (stream, version))), None)

    def within(self, prefixes: Sequence[str], after: int, until: int) -> list[Recorded]:
        """Return the events with `after < position <= until` of streams whose names begin so.

        A short stretch is read row by row, however long the streams are; of a long one only the streams.
        """
        bounds = [(prefix, prefix + _LAST_CHARACTER) for prefix in prefixes]
        with contextlib.closing(Pages(self._path)) as pages:
            if until - after <= _MOST_READ_IN_ORDER:
                sql = _SELECT_STRETCH.format(streams=" OR ".join([_BEGINS_SO] * len(bounds)))
                found = pages.select(sql, (after, until, *chain.from_iterable(bounds)))
            else:
                each = (pages.select(_SELECT_OF_STREAMS, (*bound, after, until)) for bound in bounds)
                found = list(set(chain.from_iterable(each)))
        return list(_recorded(sorted(found)))


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

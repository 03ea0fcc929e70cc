"""The rows of a log's file as they are stored, undecoded, beside a running writer or at rest."""

import contextlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from apikeyrouter.adapters.eventlog.connections import wal_path
from apikeyrouter.adapters.eventlog.recorder import SELECT_EVENTS
from apikeyrouter.adapters.eventlog.sqlite_reader import Pages, Row
from apikeyrouter.adapters.proof.durable_files import sync_file, sync_folder
from apikeyrouter.application.proof.ports import FIRST_POSSIBLE, Extent
from apikeyrouter.domain.models.system_error import LogUnavailableError
from apikeyrouter.domain.proof.leaves import StoredRow

_LAST_POSSIBLE = 2**63 - 1
_SELECT_PAGE = (
    f"{SELECT_EVENTS} WHERE notification_id >= ? AND notification_id <= ? ORDER BY notification_id LIMIT ?"
)
_SELECT_EXTENT = (
    "SELECT count(*), coalesce(min(notification_id), 0), coalesce(max(notification_id), 0),"
    " coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'stored_events'), 0) FROM stored_events"
)
_SELECT_STREAM = f"{SELECT_EVENTS} WHERE originator_id = ? ORDER BY originator_version"
_SELECT_COUNT = "SELECT count(*) FROM stored_events WHERE notification_id >= ? AND notification_id <= ?"
_CHECK = "PRAGMA integrity_check('stored_events')"
_lenient = partial(str, encoding="utf-8", errors="surrogateescape")


class StoredRows:
    """Implements `Rows` on a SQLite file."""

    def __init__(self, path: Path | str) -> None:
        self._path = Path(os.path.realpath(path))

    def pages(
        self, first: int = FIRST_POSSIBLE, until: int | None = None, *, most: int = 2000
    ) -> Iterator[list[StoredRow]]:
        """Yield rows by position; where the file is damaged, every row before the damage."""
        last = _LAST_POSSIBLE if until is None else until
        with contextlib.closing(_RawPages(self._path)) as pages:
            while first <= last and (rows := self._page(pages, first, last, most)):
                yield rows
                first = rows[-1].position + 1

    def extent(self) -> Extent:
        """Tell how far the rows reach."""
        with contextlib.closing(_RawPages(self._path)) as pages:
            return msgspec.convert(pages.select(_SELECT_EXTENT, ())[0], Extent)

    def of_stream(self, stream: str) -> list[StoredRow]:
        """Return the rows of one stream, by version."""
        with contextlib.closing(_RawPages(self._path)) as pages:
            return list(map(StoredRow._make, pages.select(_SELECT_STREAM, (stream,))))

    def count(self, first: int, last: int) -> int:
        """Count the rows between two positions, both included."""
        with contextlib.closing(_RawPages(self._path)) as pages:
            return int(pages.select(_SELECT_COUNT, (first, last))[0][0])

    def make_durable(self) -> None:
        """Flush file and write-ahead file: commits with synchronous=NORMAL may rest in memory until then."""
        for path in (wal_path(self._path), self._path):
            with contextlib.suppress(FileNotFoundError):
                sync_file(path)
        sync_folder(self._path.parent)

    def damage(self) -> list[str]:
        """Ask SQLite what is wrong with the table, its index and the file around them."""
        with contextlib.closing(_RawPages(self._path)) as pages:
            try:
                told = [str(row[0]) for row in pages.select(_CHECK, ())]
            except LogUnavailableError as error:
                return [error.message]
        return [] if told == ["ok"] else told[:10]

    @staticmethod
    def _page(pages: "_RawPages", first: int, last: int, most: int) -> list[StoredRow]:
        try:
            rows = pages.select(_SELECT_PAGE, (first, last, most))
        except LogUnavailableError:
            if most == 1:
                raise
            rows = pages.select(_SELECT_PAGE, (first, last, 1))
        return list(map(StoredRow._make, rows))


class _RawPages(Pages):
    """Selects text also where it is not UTF-8, as nothing that the log wrote can be; the slow way then."""

    def _attempt(self, sql: str, values: tuple[Any, ...]) -> list[Row] | None:
        try:
            return super()._attempt(sql, values)
        except LogUnavailableError:
            if self._connection.text_factory is _lenient:
                raise
            self._connection.text_factory = _lenient
            return super()._attempt(sql, values)

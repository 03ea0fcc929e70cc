"""The table of sealed bodies: SQLite in a file of its own, made when the first body comes."""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from apikeyrouter.adapters.vault.store import SHREDDING_PRAGMAS, restrict_to_owner
from apikeyrouter.application.payloads.ports import PayloadStoreError
from apikeyrouter.domain.payloads import Loss

_SCHEMA = """
CREATE TABLE IF NOT EXISTS payloads (
    request_id TEXT NOT NULL, part TEXT NOT NULL, client_id TEXT NOT NULL, subject TEXT NOT NULL,
    key_fingerprint TEXT NOT NULL, taken_at_us INTEGER NOT NULL, plain_bytes INTEGER NOT NULL,
    truncated INTEGER NOT NULL, sealed BLOB NOT NULL, sealed_bytes INTEGER NOT NULL,
    sealed_sha256 TEXT NOT NULL, settled INTEGER NOT NULL,
    PRIMARY KEY (request_id, part)
) STRICT;
CREATE INDEX IF NOT EXISTS payloads_by_key ON payloads (key_fingerprint);
CREATE INDEX IF NOT EXISTS payloads_by_client ON payloads (client_id, subject, taken_at_us);
CREATE INDEX IF NOT EXISTS payloads_unsettled ON payloads (request_id) WHERE settled = 0;
"""
_INSERT = "INSERT OR REPLACE INTO payloads VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_LOCKED_S = 5.0
_PRIMARY_CODE = 0xFF


class Row(NamedTuple):
    """A sealed body with its place; `settled` once the log has recorded it."""

    request_id: str
    part: str
    client_id: str
    subject: str
    key_fingerprint: str
    taken_at_us: int
    plain_bytes: int
    truncated: int
    sealed: bytes
    sealed_bytes: int
    sealed_sha256: str
    settled: int = 0


_COLUMNS = ", ".join(Row._fields)


class PayloadRows:
    """Rows by request and part; one thread at a time."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def insert(self, rows: Iterable[Row]) -> None:
        """Store rows, all or none, durable when it returns."""
        self._change(_INSERT, rows)

    def settle(self, request_ids: Sequence[str]) -> None:
        """Note that the log knows these."""
        self._change("UPDATE payloads SET settled = 1 WHERE request_id = ?", _each(request_ids))

    def delete(self, request_ids: Sequence[str]) -> None:
        """Overwrite the rows of requests."""
        self._change("DELETE FROM payloads WHERE request_id = ?", _each(request_ids))

    def delete_sealed_under(self, key_fingerprints: Sequence[str]) -> None:
        """Overwrite the rows that were sealed under these keys."""
        self._change("DELETE FROM payloads WHERE key_fingerprint = ?", _each(key_fingerprints))

    def select(self, where: str = "TRUE", values: Sequence[Any] = (), *, blank: bool = False) -> list[Row]:
        """Return rows; `blank` without the sealed bytes."""
        columns = _COLUMNS.replace(" sealed,", " x'',", 1) if blank else _COLUMNS
        found = self.ask(f"SELECT {columns} FROM payloads WHERE {where}", values)  # noqa: S608 - our own words
        return [Row._make(row) for row in found]

    def ask(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Select; nothing is there where there is no file."""
        if self._connection is None and not self._is_there():
            return []
        with self._failing():
            return self._open().execute(sql, values).fetchall()

    def close(self) -> None:
        """Give the file back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _change(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        rows = list(rows)
        if not rows or (sql is not _INSERT and self._connection is None and not self._is_there()):
            return
        with self._failing(), self._open() as connection:
            connection.executemany(sql, rows)

    def _is_there(self) -> bool:
        return self._path is not None and self._path.exists()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            if self._path is not None:
                restrict_to_owner(self._path)
            where = ":memory:" if self._path is None else self._path
            connection = sqlite3.connect(where, timeout=_LOCKED_S, check_same_thread=False)
            try:
                for pragma in SHREDDING_PRAGMAS:
                    connection.execute(f"PRAGMA {pragma}")
                connection.executescript(_SCHEMA)
            except sqlite3.Error:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE
            loss = Loss.DiskFull if code == sqlite3.SQLITE_FULL else Loss.StoreFailed
            place = "in memory" if self._path is None else str(self._path)
            raise PayloadStoreError(
                f"the file of bodies {place} cannot be used: {error}", loss=loss
            ) from None


def _each(names: Sequence[str]) -> list[tuple[str]]:
    return [(name,) for name in names]

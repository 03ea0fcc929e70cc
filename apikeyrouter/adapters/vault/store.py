"""The vault's table: SQLite in a file of its own that keeps nothing of what was deleted."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from apikeyrouter.adapters.vault.envelope import Sealed
from apikeyrouter.domain.models.system_error import ConfigurationError, LogUnavailableError

if TYPE_CHECKING:
    from sqlite_utils import Database

_OWNER_ONLY = 0o600
_SQLITE_MAGIC = b"SQLite format 3\0"
_SEALED = "sealed"
_CHECKS = "checks"
_MASTER_KEY_CHECK = "master_key"
# A write-ahead log would keep sealed rows after their deletion; EXTRA also makes the deletion of the
# rollback journal durable, or a power cut could bring a destroyed key back.
SHREDDING_PRAGMAS = ("secure_delete=on", "journal_mode=delete", "synchronous=extra", "temp_store=memory")


class VaultStore:
    """Sealed rows by subject, and the value by which a wrong master key is noticed."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        try:
            self._database = _open(path)
        except (sqlite3.Error, OSError) as error:
            raise ConfigurationError(f"the vault {self.place} cannot be opened: {error}") from None

    @property
    def place(self) -> str:
        """Name the store for people."""
        return "in memory" if self._path is None else str(self._path)

    def check(self) -> bytes | None:
        """Return the check value, None in a new vault."""
        with self._readable():
            rows = list(self._database.query("select value from checks where name = ?", [_MASTER_KEY_CHECK]))
        return rows[0]["value"] if rows else None

    def put_check(self, value: bytes) -> None:
        """Store the check value of a new vault."""
        with self._writable():
            self._database.table(_CHECKS).insert({"name": _MASTER_KEY_CHECK, "value": value})

    def get(self, subject: str) -> Sealed | None:
        """Return what is sealed for a subject."""
        sql = "select data_key, material from sealed where subject = ?"
        with self._readable():
            rows = list(self._database.query(sql, [subject]))
        return Sealed(**rows[0]) if rows else None

    def put(self, subject: str, sealed: Sealed) -> None:
        """Store durably; what was there before is overwritten."""
        replaces = self.get(subject) is not None
        with self._writable():
            self._database.table(_SEALED).insert({"subject": subject, **sealed._asdict()}, replace=True)
            if replaces:
                self._sweep()

    def delete(self, *subjects: str) -> None:
        """Overwrite rows; harmless, and cheap, if there are none."""
        rows = [(subject,) for subject in subjects if self.get(subject) is not None]
        if not rows:
            return
        with self._writable():
            with self._database.conn:
                self._database.conn.executemany("delete from sealed where subject = ?", rows)
            self._sweep()

    def subjects(self) -> list[str]:
        """Return for whom something is sealed."""
        with self._readable():
            return [
                row["subject"] for row in self._database.query("select subject from sealed order by subject")
            ]

    def is_empty(self) -> bool:
        """Tell whether nothing is sealed here."""
        with self._readable():
            return not list(self._database.query("select 1 from sealed limit 1"))

    def close(self) -> None:
        """Give the file back."""
        self._database.close()

    def _sweep(self) -> None:
        """Rewrite the file: SQLite leaves copies of rows it once moved, and secure_delete misses those."""
        self._database.vacuum()

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _unavailable(f"the vault {self.place} cannot be read: {error}") from None

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _unavailable(f"the vault {self.place} cannot be written: {error}") from None


def _unavailable(message: str) -> LogUnavailableError:
    return LogUnavailableError(message, code="vault_unavailable")


def _open(path: Path | None) -> "Database":
    from sqlite_utils import Database  # noqa: PLC0415 - slow to import, and nobody needs it before a vault

    if path is not None:
        restrict_to_owner(path)
    connection = sqlite3.connect(":memory:" if path is None else path, timeout=5.0, check_same_thread=False)
    try:
        database = Database(connection)
        for pragma in SHREDDING_PRAGMAS:
            database.execute(f"pragma {pragma}")
        _create_tables(database)
    except sqlite3.Error:
        connection.close()
        raise
    return database


def restrict_to_owner(path: Path) -> None:
    """Create the file with the right mode before SQLite does; its journals inherit the mode."""
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, _OWNER_ONLY), "rb") as file:
        beginning = file.read(len(_SQLITE_MAGIC))
    if beginning not in {b"", _SQLITE_MAGIC}:  # SQLite takes a short file for an empty one and writes over it
        raise sqlite3.DatabaseError("it is no SQLite file")
    path.chmod(_OWNER_ONLY)


def _create_tables(database: "Database") -> None:
    columns = {"subject": str, "data_key": bytes, "material": bytes}
    database.table(_SEALED).create(
        columns, pk="subject", not_null={"data_key", "material"}, if_not_exists=True, strict=True
    )
    database.table(_CHECKS).create(
        {"name": str, "value": bytes}, pk="name", not_null={"value"}, if_not_exists=True, strict=True
    )

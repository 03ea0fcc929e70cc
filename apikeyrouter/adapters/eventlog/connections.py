"""Connections to a log's file: one that writes and checkpoints, and others that leave no trace.

SQLite before 3.51.3 can damage a file if two connections write or checkpoint in the same instant, so nothing
but the writer's connection ever does either.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from apikeyrouter.adapters.eventlog.recorder import APPLICATION_ID, CREATE_EVENTS_TABLE, Synchronous
from apikeyrouter.domain.models.system_error import ConfigurationError, ConflictError
from apikeyrouter.limits import MOST_WAL_BYTES

PAGE_BYTES = 8192
"""Measured: requests of 2.3 KB waste pages of 4 KiB; these make the file a third smaller."""

_CHECKPOINT_PAGES = 4 * 1024 * 1024 // PAGE_BYTES  # measured: 16 MiB cost small commits a fifth more CPU
_PROBE_PAGES = 8
_NO_CAP_PAGES = 0xFFFFFFFE
BUSY_S = 5.0
_FIXED_RELEASES = ((3, 44, 6), (3, 50, 7), (3, 51, 3))

_CREATE_ROOM_TABLE = "CREATE TABLE IF NOT EXISTS log_room (id INTEGER PRIMARY KEY, filler BLOB NOT NULL)"
_SELECT_HEAD = (
    "SELECT coalesce((SELECT max(notification_id) FROM stored_events), 0),"
    " coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'stored_events'), 0)"
)


class WriterSettings(NamedTuple):
    """How the writer's connection is opened; `max_pages` caps the size of the file."""

    path: Path
    synchronous: Synchronous
    max_pages: int | None = None


def open_writer(settings: WriterSettings, *, create: bool) -> tuple[sqlite3.Connection, int]:
    """Open a log for writing; return the connection and the position of the last stored event.

    A file that holds anything else is refused, and so is a log whose last events were deleted.
    """
    connection = _connect(settings.path, "mode=rwc" if create else "mode=rw")
    with _closed_on_error(connection, settings.path):
        _prepare(connection, settings)
        return connection, _stored_head(connection)


def cap(connection: sqlite3.Connection, max_pages: int | None) -> None:
    """Let the file grow to this many pages; never to fewer than it has."""
    pages = _NO_CAP_PAGES if max_pages is None else max(max_pages, 1)
    connection.execute(f"PRAGMA max_page_count = {pages}")


def probe(connection: sqlite3.Connection) -> None:
    """Store some pages durably and delete them again, so that a full disk and a reached cap show.

    The pages stay in the file as free ones, and the next events go there.
    """
    connection.execute(
        "INSERT OR REPLACE INTO log_room VALUES (1, zeroblob(?))", (_PROBE_PAGES * PAGE_BYTES,)
    )
    connection.execute("DELETE FROM log_room")


def open_reader(path: Path, *, resting: bool) -> sqlite3.Connection:
    """Open a log for reading only; no file is created, nothing is written into the log or checkpointed.

    A log at rest has no write-ahead file, and SQLite would make one even to read: there it must be told that
    nobody writes, and the caller must find out if that stops being true.
    """
    mode = "mode=ro"
    if resting:
        mode = "mode=ro&immutable=1"
    elif not shm_path(path).exists():
        mode = "mode=ro&readonly_shm=1"  # fails, where SQLite would make the file otherwise
    connection = _connect(path, mode)
    with _closed_on_error(connection, path):
        _check_identity(connection, path)
    return connection


def wal_path(path: Path) -> Path:
    """Name the write-ahead file of a log, which exists while somebody writes, or after a crash."""
    return path.with_name(f"{path.name}-wal")


def shm_path(path: Path) -> Path:
    """Name the index of the write-ahead file."""
    return path.with_name(f"{path.name}-shm")


def sqlite_warnings(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> tuple[str, ...]:
    """Say what is wrong with the SQLite library that this process uses; empty if nothing is known."""
    fixed = version >= _FIXED_RELEASES[-1] or any(
        release[:2] == version[:2] and release <= version for release in _FIXED_RELEASES
    )
    if fixed:
        return ()
    number = ".".join(map(str, version))
    warning = (
        f"SQLite {number} has the WAL-reset bug, which is fixed in 3.51.3: a file can be damaged if two"
        " connections write or checkpoint in the same instant. The router's own processes never do; let no"
        " other program, a backup tool say, open the log for writing."
    )
    return (warning,)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    try:
        return sqlite3.connect(
            f"{path.as_uri()}?{mode}",
            uri=True,
            timeout=BUSY_S,
            isolation_level=None,
            check_same_thread=False,
        )
    except sqlite3.Error as error:
        raise _unusable(path, error) from error


@contextlib.contextmanager
def _closed_on_error(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        connection.close()
        raise _unusable(path, error) from error
    except BaseException:
        connection.close()
        raise


def _prepare(connection: sqlite3.Connection, settings: WriterSettings) -> None:
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        _check_identity(connection, settings.path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {settings.synchronous}")
    connection.execute("PRAGMA fullfsync = ON")  # macOS: without it a commit may rest in the drive's cache
    connection.execute("PRAGMA secure_delete = ON")  # what leaves the log leaves the file
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit = {MOST_WAL_BYTES}")
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(CREATE_EVENTS_TABLE)
        connection.execute(_CREATE_ROOM_TABLE)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    cap(connection, settings.max_pages)


def _stored_head(connection: sqlite3.Connection) -> int:
    head, ever = connection.execute(_SELECT_HEAD).fetchone()
    if head != ever:
        raise ConflictError(
            f"the log ends at position {head} but has held {ever}: its last events were deleted"
        )
    return int(head)


def _check_identity(connection: sqlite3.Connection, path: Path) -> None:
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise _foreign(path)


def _foreign(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is no event log of this program: name another file", param="database_url"
    )


def _unusable(path: Path, error: sqlite3.Error) -> ConfigurationError:
    code, reason = getattr(error, "sqlite_errorcode", 0), str(error)
    if code == sqlite3.SQLITE_NOTADB:
        return _foreign(path)
    if path.is_dir():
        reason = "it is a folder: name a file in it"
    elif code == sqlite3.SQLITE_CANTOPEN:
        reason += ". This user must be allowed to read it, and to write it and into its folder"
    return ConfigurationError(f"the event log {path} cannot be opened: {reason}", param="database_url")

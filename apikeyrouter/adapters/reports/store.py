"""The file of the read models: made by sqlite-utils, so that its tools, Datasette and plain SQL read it too.

It is a cache of the log and may be deleted at any time. It keeps SQLite's rollback journal, not a write-ahead
log: several processes may write it, and SQLite before 3.51.3 can damage a write-ahead log then.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from sqlite_utils import Database

from apikeyrouter.adapters.reports.paths import PathNumbers
from apikeyrouter.adapters.reports.schema import (
    STANDINGS,
    create_common_tables,
    create_tables,
    drop_tables,
    shape_of,
    statement,
)
from apikeyrouter.adapters.reports.views import create_views
from apikeyrouter.application.projections.projector import Advance, Standing
from apikeyrouter.application.projections.read_models import READ_MODELS
from apikeyrouter.application.projections.tables import Change, ReadModel, Writing
from apikeyrouter.domain.models.system_error import ConfigurationError, LogUnavailableError

APPLICATION_ID = 0x414B5252  # "AKRR" in the header of the file: tells it from other databases
_BUSY_S = 60.0
_PAGE_BYTES = 8192
_CACHE_KIB = 64 * 1024
_MAPPED_BYTES = 4 * 1024**3


class ReadModelFile:
    """Implements `ReadModelStore`; without a path the tables live in memory.

    `disposable` files are not waited for: whoever makes one gives it its name once it is whole.
    """

    def __init__(self, path: Path | None, *, disposable: bool = False) -> None:
        self.path = path
        connection = _connect(path)
        try:
            _configure(connection, path, disposable=disposable)
            self.database = Database(connection)
            self._paths = PathNumbers(self.database)
            with self._transaction():
                self._create()
        except sqlite3.Error as error:
            connection.close()
            raise unavailable(path, error) from error
        except BaseException:
            connection.close()
            raise

    def standings(self) -> Mapping[str, Standing]:
        """Return where each read model stands."""
        rows = self.database.query(f"SELECT name, position, anchor FROM {STANDINGS}")
        return {row["name"]: Standing(row["position"], row["anchor"]) for row in rows}

    def write(self, changes: Iterable[Change], advance: Advance) -> bool:
        """Write changes with the position behind them, unless somebody else has moved the read models."""
        with self._transaction():
            if not self._stand_at(advance):
                return False
            self._write_rows(changes)
            self._move(advance.models, advance.end())
        return True

    def forget(self, models: Iterable[str]) -> None:
        """Empty the tables of read models."""
        names = list(models)
        if not names:
            return
        with self._transaction():
            for name in names:
                self._begin_anew(READ_MODELS[name])
            if len(names) == len(READ_MODELS):
                self._paths.forget()

    def close(self) -> None:
        """Give the file back."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _create(self) -> None:
        create_common_tables(self.database)
        rows = self.database.query(f"SELECT name, version, shape FROM {STANDINGS}")
        stored = {row["name"]: (row["version"], row["shape"]) for row in rows}
        stale = [m for m in READ_MODELS.values() if stored.get(m.name) != (m.version, shape_of(m))]
        for model in stale:
            self._begin_anew(model)
        if stale:
            create_views(self.database)

    def _begin_anew(self, model: ReadModel) -> None:
        drop_tables(self.database, model)
        create_tables(self.database, model)
        row = {"name": model.name, "version": model.version, "shape": shape_of(model)}
        self.database.table(STANDINGS).upsert({**row, "position": 0, "anchor": ""}, pk="name")

    def _stand_at(self, advance: Advance) -> bool:
        standings = self.standings()
        return all(standings[name].position == advance.start for name in advance.models)

    def _write_rows(self, changes: Iterable[Change]) -> None:
        """Write rows kind by kind, by statements made once: these are most of what a rebuild does."""
        rows: dict[Writing, list[tuple[Any, ...]]] = {}
        self._paths.refresh()
        for writing, values in changes:
            known = rows.get(writing)
            if known is None:
                known = rows[writing] = []
            known.append(values)
        for writing, told in rows.items():
            self.database.conn.executemany(statement(writing), self._paths.numbered(writing, told))
        self._paths.write()

    def _move(self, models: Iterable[str], end: Standing) -> None:
        sql = f"UPDATE {STANDINGS} SET position = ?, anchor = ? WHERE name = ?"
        self.database.conn.executemany(sql, [(*end, name) for name in models])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        connection = self.database.conn
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            _roll_back(connection)
            raise unavailable(self.path, error) from error
        except BaseException:
            _roll_back(connection)
            raise


def unavailable(path: Path | None, error: sqlite3.Error) -> LogUnavailableError:
    """Say that the read models cannot be used now; the log is not touched by that."""
    return LogUnavailableError(
        f"the read models {_place(path)} cannot be used: {error}", code="reports_unavailable"
    )


def _connect(path: Path | None) -> sqlite3.Connection:
    try:
        return sqlite3.connect(
            ":memory:" if path is None else path,
            timeout=_BUSY_S,
            isolation_level=None,
            check_same_thread=False,
        )
    except sqlite3.Error as error:
        raise unavailable(path, error) from error


def _configure(connection: sqlite3.Connection, path: Path | None, *, disposable: bool) -> None:
    connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
    if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        _check_identity(connection, path)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    connection.execute(f"PRAGMA mmap_size = {_MAPPED_BYTES}")
    connection.execute("PRAGMA temp_store = memory")
    if disposable:
        connection.execute("PRAGMA journal_mode = off")
        connection.execute("PRAGMA synchronous = off")


def _check_identity(connection: sqlite3.Connection, path: Path | None) -> None:
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise ConfigurationError(f"{_place(path)} holds no read models of this program", param="reports")


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _place(path: Path | None) -> str:
    return "in memory" if path is None else str(path)

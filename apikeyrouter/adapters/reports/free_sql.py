"""Queries of users' own on the read models: whatever reads, and nothing else."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from apikeyrouter.adapters.reports.store import ReadModelFile
from apikeyrouter.domain.models.system_error import InvalidRequestError

_READING = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)


def select(store: ReadModelFile, sql: str, limit: int) -> tuple[list[str], list[Sequence[Any]]]:
    """Return the names of the columns and the first rows of a query.

    SQLite itself refuses everything but reading these tables: no change, no other file, no setting.
    """
    connection = store.database.conn
    connection.set_authorizer(_only_reading)
    try:
        cursor = connection.execute(sql)
        rows = cursor.fetchmany(limit)
        names = [column[0] for column in cursor.description or ()]
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise InvalidRequestError(f"the query cannot be run: {error}", param="sql") from error
    finally:
        connection.set_authorizer(None)
    return names, rows


def _only_reading(action: int, *_: str | None) -> int:
    return sqlite3.SQLITE_OK if action in _READING else sqlite3.SQLITE_DENY

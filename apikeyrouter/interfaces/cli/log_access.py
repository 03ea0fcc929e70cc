"""Read a log beside whoever writes it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from apikeyrouter.domain.models.system_error import ConfigurationError, NotFoundError

if TYPE_CHECKING:
    from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
    from apikeyrouter.domain.state import RouterState
    from apikeyrouter.settings import RouterSettings


def log_file(settings: "RouterSettings") -> Path:
    """Return the log's file, or refuse where the log lives in another process's memory."""
    if settings.database_path is None:
        raise ConfigurationError(
            "the database URL names a log in memory, which no other process can read: give a file with"
            " --database",
            param="database_url",
        )
    return settings.database_path


def open_reader(database: str | None) -> "SqliteReader":
    """Open the log for reading, or say that there is none."""
    from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
    from apikeyrouter.interfaces.cli.options import settings_from

    path = log_file(settings_from(database_url=database))
    if not path.exists():
        raise NotFoundError(
            f"there is no log at {os.path.realpath(path)}: start one with `apikeyrouter serve`, or name"
            " another file with --database"
        )
    return SqliteReader(path)


def folded(reader: "SqliteReader") -> "RouterState":
    """Fold the whole log into the state that its last event left."""
    from apikeyrouter.domain.state import RouterState

    return RouterState().fold(reader.read())

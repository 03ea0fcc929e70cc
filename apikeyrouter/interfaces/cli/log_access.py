"""Read a log beside whoever writes it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from apikeyrouter.domain.models.system_error import ConfigurationError, NotFoundError

if TYPE_CHECKING:
    from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
    from apikeyrouter.adapters.retention.whole_log import WholeLog
    from apikeyrouter.application.snapshots.ports import Snapshots
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


def existing_log(settings: "RouterSettings") -> Path:
    """Return the log's file, or say that there is none."""
    path = log_file(settings)
    if path.is_dir():
        raise NotFoundError(
            f"{os.path.realpath(path)} is a folder: name the log's file in it with --database"
        )
    if not path.exists():
        raise NotFoundError(
            f"there is no log at {os.path.realpath(path)}: start one with `apikeyrouter serve`, or name"
            " another file with --database"
        )
    return path


def open_reader(database: str | None) -> "SqliteReader":
    """Open the log for reading, or say that there is none."""
    from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
    from apikeyrouter.interfaces.cli.options import settings_from

    return SqliteReader(existing_log(settings_from(database_url=database)))


def open_whole_log(database: str | None) -> "WholeLog":
    """Open the log with what has left it in its place, as far as the segments lie beside it."""
    from apikeyrouter.adapters.retention.whole_log import WholeLog

    reader = open_reader(database)
    return WholeLog(reader, reader.path)


def folded(reader: "SqliteReader") -> "RouterState":
    """Return the state that the log's last event left."""
    from apikeyrouter.adapters.retention.whole_log import WholeLog
    from apikeyrouter.application.snapshots import folding

    whole = WholeLog(reader, reader.path)
    return folding.present(whole, reader, snapshots_of(reader)).state


def snapshots_of(reader: "SqliteReader") -> "Snapshots":
    """Open the snapshots beside a log; without its master key there are none to be had."""
    from apikeyrouter.adapters.snapshots.opening import snapshots_for_reading
    from apikeyrouter.interfaces.cli.options import settings_from

    return snapshots_for_reading(settings_from(database_url=str(reader.path)), reader.path)

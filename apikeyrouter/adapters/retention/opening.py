"""Open what retention needs of a log in a file: its seals, its key, and the shelf for segments."""

from collections.abc import Callable
from pathlib import Path

from apikeyrouter.adapters.eventlog.sqlite_log import SqliteLog
from apikeyrouter.adapters.proof.opening import evidence_of, signer_of
from apikeyrouter.adapters.reports.files import reports_file
from apikeyrouter.adapters.retention.shelf import SegmentShelf
from apikeyrouter.adapters.retention.whole_log import WholeLog
from apikeyrouter.application.ports import EventLog, EventReader
from apikeyrouter.settings import RouterSettings


def open_shelf(settings: RouterSettings, log: EventLog) -> SegmentShelf | None:
    """Return the shelf beside the log; None for one in memory."""
    path = _log_path(settings)
    if path is None or not isinstance(log, SqliteLog):
        return None
    return SegmentShelf(log, path, lambda: evidence_of(settings, path), lambda: signer_of(settings, path))


def forgetting_reports(settings: RouterSettings) -> Callable[[], None]:
    """Return what removes the read models, which are made anew from what is left in the log."""
    path = _log_path(settings)

    def forget() -> None:
        if path is not None:
            reports_file(path).unlink(missing_ok=True)

    return forget


def _log_path(settings: RouterSettings) -> Path | None:
    path = settings.database_path
    return None if path is None else path.resolve()


def whole_log(settings: RouterSettings, reader: EventReader) -> WholeLog:
    """Return a log with what has left it, as far as its segments lie beside it."""
    return WholeLog(reader, _log_path(settings))

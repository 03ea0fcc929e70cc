"""Why a log cannot be written, in words that may leave the process: no paths, no data."""

import sqlite3

from apikeyrouter.domain.models.system_error import ConflictError, LogUnavailableError

RETRY_AFTER_S = 1.0
CLOSED = "it is closed"
PLACE_TAKEN = "the place of an event is taken"

_PRIMARY_CODE = 0xFF
_REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full, or the cap on its size is reached",
    sqlite3.SQLITE_IOERR: "the disk failed",
    sqlite3.SQLITE_READONLY: "its file is read-only",
    sqlite3.SQLITE_CANTOPEN: "its file cannot be opened",
    sqlite3.SQLITE_BUSY: "another program holds its file",
    sqlite3.SQLITE_CORRUPT: "its file is damaged",
    sqlite3.SQLITE_NOTADB: "its file is damaged",
    sqlite3.SQLITE_CONSTRAINT: PLACE_TAKEN,
}


def unavailable(reason: str) -> LogUnavailableError:
    """Say that the log cannot be written, and why."""
    return LogUnavailableError(f"the event log cannot be written: {reason}", retry_after=RETRY_AFTER_S)


def reason_of(failure: BaseException) -> str:
    """Name the reason behind a failure of the store."""
    if isinstance(failure, ConflictError):
        return failure.message
    cause = failure if isinstance(failure, sqlite3.Error) else failure.__cause__
    code = getattr(cause, "sqlite_errorcode", 0) & _PRIMARY_CODE
    return _REASONS.get(code, "its store failed")

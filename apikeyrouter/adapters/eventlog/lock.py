"""One writer to a log: an advisory lock of the operating system, which no crash can leave behind.

The locked file names its owner, so that command-line tools find the running server. POSIX only: Windows
locks bytes against reading too, so the owner could not be read there.
"""

import contextlib
import os
import sys
import time
from pathlib import Path

import msgspec

from apikeyrouter.domain.models.system_error import ConfigurationError, LogLockedError
from apikeyrouter.limits import MOST_LOCK_FILE_BYTES

if sys.platform != "win32":
    import fcntl

_ATTEMPTS = 20
_ATTEMPT_S = 0.01


class LogOwner(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who writes a log: the process, and where it serves if it does."""

    pid: int
    url: str | None = None


class WriterLock:
    """The right to write a log; held from construction until `release`, or until the process ends."""

    def __init__(self, log_path: Path) -> None:
        if sys.platform == "win32":
            raise ConfigurationError("an event log in a file needs POSIX file locks; use Linux, macOS or WSL")
        try:
            self._descriptor = os.open(lock_path(log_path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigurationError(
                f"the event log {log_path} cannot be locked: {error.strerror}. Its folder must be there, and"
                " this user must be allowed to write into it",
                param="database_url",
            ) from error
        if not _acquire(self._descriptor):
            owner = _read_owner(self._descriptor)
            os.close(self._descriptor)
            raise in_use(owner)
        self.publish()

    @property
    def held(self) -> bool:
        """False after `release`."""
        return self._descriptor >= 0

    def publish(self, *, url: str | None = None) -> None:
        """Tell other processes who writes here, and where to reach it."""
        line = msgspec.json.encode(LogOwner(os.getpid(), url)) + b"\n"
        os.pwrite(self._descriptor, line, 0)
        os.ftruncate(self._descriptor, len(line))

    def release(self) -> None:
        """Let another process write. The file stays: removing it would let two processes lock two files."""
        if self.held:
            os.close(self._descriptor)
            self._descriptor = -1


def lock_path(log_path: Path) -> Path:
    """Name the file that is locked while a log is written."""
    return log_path.with_name(f"{log_path.name}.lock")


def read_owner(log_path: Path | str) -> LogOwner | None:
    """Return who writes this log now; None if nobody does."""
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(lock_path(Path(os.path.realpath(log_path))), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return None if _is_free(descriptor) else _read_owner(descriptor)
        finally:
            os.close(descriptor)
    return None


def in_use(owner: LogOwner | None) -> LogLockedError:
    """Say who writes the log, and what can be done."""
    process = f"process {owner.pid}" if owner else "another process"
    return LogLockedError(
        f"the log is in use by {process}: one SQLite file has one writer. Reading commands work beside it; "
        "for several processes or hosts the log belongs into PostgreSQL (a postgresql:// URL)."
    )


def _acquire(descriptor: int) -> bool:
    for attempt in range(_ATTEMPTS):  # a tool that asks who is there holds the lock for an instant
        if attempt:
            time.sleep(_ATTEMPT_S)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    return False


def _is_free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_owner(descriptor: int) -> LogOwner | None:
    line = os.pread(descriptor, MOST_LOCK_FILE_BYTES, 0).partition(b"\n")[0]
    try:
        return msgspec.json.decode(line, type=LogOwner)
    except msgspec.MsgspecError:
        return None

"""How commands find the server that writes a log: a file beside it, readable by its owner alone.

It holds the management key of this run, so that the command line on the same machine needs no other.
"""

import contextlib
import os
from pathlib import Path

import msgspec

from apikeyrouter.domain.models.system_error import ConfigurationError

OTHERS = 0o077
OWNER_ONLY = 0o600
MOST_BYTES = 4096


class Run(msgspec.Struct, frozen=True):
    """A server that runs: its process, where it listens, and the key of this run."""

    pid: int
    url: str
    management_key: str

    def __repr__(self) -> str:
        """Keep the key to itself."""
        return f"Run(pid={self.pid}, url={self.url!r})"


def run_path(log_path: Path) -> Path:
    """Name the file that belongs to a log."""
    resolved = Path(os.path.realpath(log_path))
    return resolved.with_name(f"{resolved.name}.run")


def publish(log_path: Path, run: Run) -> None:
    """Write the file anew, never with a moment in which others could read it."""
    path = run_path(log_path)
    withdraw(log_path)  # a server that was killed left one; its key opens nothing any more
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, OWNER_ONLY)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(run))


def withdraw(log_path: Path) -> None:
    """Remove the file."""
    with contextlib.suppress(FileNotFoundError):
        run_path(log_path).unlink()


def running_server(log_path: Path) -> Run | None:
    """Return the server that writes this log now, or None; a file left by a dead process does not count."""
    from apikeyrouter.adapters.eventlog.lock import read_owner

    owner = read_owner(log_path)
    if owner is None:
        return None
    run = _read(run_path(log_path))
    return run if run is not None and run.pid == owner.pid else None


def _read(path: Path) -> Run | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        _refuse_if_not_ours(descriptor, path)
        try:
            return msgspec.json.decode(file.read(MOST_BYTES), type=Run)
        except msgspec.MsgspecError:
            return None


def _refuse_if_not_ours(descriptor: int, path: Path) -> None:
    """Whoever could write this file could have keys sent to an address of theirs."""
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid() or status.st_mode & OTHERS:
        raise ConfigurationError(
            f"{path} tells where the server is, but belongs to another user or is open to others: nothing is"
            " sent there; run this command as the server's user"
        )

"""A process that dies while it writes a snapshot: `python die_while_writing.py LOG before|half|after`."""

import os
import signal
import sys
from pathlib import Path

from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.adapters.proof import durable_files
from apikeyrouter.adapters.snapshots.opening import open_snapshots
from apikeyrouter.domain.state import RouterState
from apikeyrouter.settings import RouterSettings


def die(*_arguments: object, **_details: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def write_half(path: Path, content: bytes, _mode: int) -> None:
    path.write_bytes(content[: len(content) // 2])
    die()


def main(log: Path, where: str) -> None:
    state = RouterState().fold(SqliteReader(log).read())
    snapshots = open_snapshots(RouterSettings(database_url=str(log)))
    if where == "before":
        durable_files.write_new = die
    elif where == "half":
        durable_files.write_new = write_half
    else:
        durable_files.sync_folder = die
    snapshots.keep(state)


main(Path(sys.argv[1]), sys.argv[2])

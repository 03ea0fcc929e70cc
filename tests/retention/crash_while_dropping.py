"""A process that dies while requests leave its log: `python crash_while_dropping.py LOG NOW_US STEP`."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

from apikeyrouter.adapters import ambient
from apikeyrouter.adapters.eventlog.sqlite_log import SqliteLog
from apikeyrouter.application.retention import deleting
from apikeyrouter.application.retention.deleting import Deletion
from apikeyrouter.application.retention.dropping import Dropping
from apikeyrouter.bootstrap import open_node
from apikeyrouter.domain.windows import DAY_US
from apikeyrouter.settings import RouterSettings


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_second_deletion() -> None:
    remove, calls = SqliteLog.remove, []

    async def once(log: SqliteLog, runs) -> None:
        calls.append(runs)
        if len(calls) == 2:
            die()
        await remove(log, runs)

    SqliteLog.remove = once
    deleting.MOST_DROPPED_ROWS = 7


def prepare(step: str) -> None:
    match step:
        case "archived":
            Dropping._told = die
        case "recorded":
            Deletion.until_sealed = die
        case "sealed":
            SqliteLog.remove = die
        case "partly_deleted":
            die_at_second_deletion()
        case "deleted":
            Deletion._wipe = die
        case "wiped":
            deleting.SegmentRemoved = die
        case "removed":
            Dropping._after = die


async def main(log: Path, now_us: int, step: str) -> None:
    ambient.time = SimpleNamespace(time_ns=lambda: now_us * 1000, monotonic_ns=time.monotonic_ns)
    settings = RouterSettings(database_url=str(log), synchronous="NORMAL", seal_interval_s=0.05)
    node = await open_node(settings)
    await node.retaining.set(30 * DAY_US, actor="test")
    prepare(step)
    node.retaining.dropping.begin(actor="test")
    await node.retaining.dropping.wait()


asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))

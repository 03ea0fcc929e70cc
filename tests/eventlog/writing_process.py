"""Write a log in a process of its own.

Usage: python writing_process.py LOG telling | silent | hold URL
`telling` and `silent` append without end with 64 tasks; the former prints what is acknowledged, the latter
only that it has begun. `hold` appends one event, publishes the URL and waits for its standard input to end.
"""

import asyncio
import os
import sys

import uvloop
from log_givens import new

from apikeyrouter.adapters.eventlog.sqlite_log import SqliteLog
from apikeyrouter.domain.events import LogRecovered, NewEvent

TASKS = 64


def say(line: str) -> None:
    """Print at once, in one system call, so that no kill tears a line apart."""
    os.write(1, f"{line}\n".encode())


async def write_for_ever(log: SqliteLog, stream: str, *, tell: bool) -> None:
    version = 0
    while True:
        count = 1 + version % 3
        events = [
            NewEvent(
                stream, version + 1 + index, LogRecovered(at_us=index, node_id="x" * 300, outage_us=count)
            )
            for index in range(count)
        ]
        await log.append(events)
        version += count
        if tell:
            say(f"{stream} {version}")


async def main() -> None:
    path, what, *url = sys.argv[1:]
    log = SqliteLog(path)
    if what in {"telling", "silent"}:
        if what == "silent":
            say("begun")
        streams = [f"{log.head:09}-{task}" for task in range(TASKS)]
        await asyncio.gather(*(write_for_ever(log, stream, tell=what == "telling") for stream in streams))
    await log.append([new(f"held-{log.head}", 1)])
    log.publish(url=url[0])
    say("ready")
    await asyncio.to_thread(sys.stdin.read)
    await log.close()


uvloop.run(main())

"""Durable appends: how many a second, how long each waits and what it costs, by how many tasks wait."""

import asyncio
import gc
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from apikeyrouter.adapters.eventlog.sqlite_log import SqliteLog
from apikeyrouter.domain.events import NewEvent
from benchmarks import report
from benchmarks.history import History
from benchmarks.processes import Cores
from benchmarks.suites import Options

TASKS = (1, 64, 256)
SYNCHRONOUS = ("FULL", "NORMAL")
KEYS = 40


def run(options: Options) -> None:
    """Measure in interleaved rounds, on the one core that a gateway would have."""
    seconds = 1.0 if options.quick else 4.0
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {Cores.choose().gateway})
    try:
        rounds = [
            uvloop.run(_measure(tasks, synchronous, seconds))
            for _ in range(options.rounds)
            for synchronous in SYNCHRONOUS
            for tasks in TASKS
        ]
    finally:
        os.sched_setaffinity(0, usable)
    rows = [_row(rounds, synchronous, tasks) for synchronous in SYNCHRONOUS for tasks in TASKS]
    columns = ["", "appends/s", "p50 ms", "p99 ms", "CPU µs/append"]
    report.table("One event an append, awaited until durable; medians of the rounds", columns, rows)
    report.save("eventlog", {"quick": options.quick, "rounds": options.rounds}, rounds)


def _row(rounds: list[dict[str, Any]], synchronous: str, tasks: int) -> list[str]:
    mine = [row for row in rounds if (row["synchronous"], row["tasks"]) == (synchronous, tasks)]
    digits = {"per_s": 0, "p50_ms": 2, "p99_ms": 2, "cpu_us": 1}
    figures = [
        report.number(report.middle(row[field] for row in mine), places) for field, places in digits.items()
    ]
    return [f"synchronous={synchronous}, {tasks} tasks", *figures]


async def _measure(tasks: int, synchronous: str, seconds: float) -> dict[str, Any]:
    report.RESULTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="eventlog-", dir=report.RESULTS) as folder:
        log = SqliteLog(Path(folder, "log.db"), synchronous=synchronous)
        decided, completed = _sample()
        await _append_for(log, decided, completed, tasks, 0.3, "warm")
        gc.collect()
        begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
        taken_ns = await _append_for(log, decided, completed, tasks, seconds, "x")
        elapsed_s, cpu_s = time.perf_counter() - begin_s, time.process_time() - begin_cpu_s
        await log.close()
    return {
        "tasks": tasks,
        "synchronous": synchronous,
        "appends": len(taken_ns),
        "per_s": len(taken_ns) / elapsed_s,
        "p50_ms": report.quantile(taken_ns, 0.5) / 1e6,
        "p99_ms": report.quantile(taken_ns, 0.99) / 1e6,
        "cpu_us": cpu_s * 1e6 / len(taken_ns),
    }


def _sample() -> tuple[NewEvent, NewEvent]:
    """Return the two events of a request that was decided among many keys."""
    history = History(KEYS)
    history.opening()
    for _ in range(2 * KEYS):
        decided, completed = history.serve()
    return decided, completed


async def _append_for(
    log: SqliteLog, decided: NewEvent, completed: NewEvent, tasks: int, seconds: float, name: str
) -> list[int]:
    taken_ns: list[int] = []
    end = time.perf_counter() + seconds

    async def requests(task: int) -> None:
        number = 0
        while time.perf_counter() < end:
            stream = f"request-{name}{task:04}{number:08}"
            for event in (decided, completed):
                begin_ns = time.perf_counter_ns()
                await log.append((NewEvent(stream, event.version, event.event),))
                taken_ns.append(time.perf_counter_ns() - begin_ns)
            number += 1

    await asyncio.gather(*(requests(task) for task in range(tasks)))
    return taken_ns

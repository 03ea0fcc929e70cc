"""How fast a log becomes a state again: events folded in a second, in memory and from the file."""

import asyncio
import gc
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from apikeyrouter.adapters.eventlog.sqlite_log import SqliteLog
from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.domain.events import NewEvent, Recorded
from apikeyrouter.domain.state import RouterState
from benchmarks import report
from benchmarks.history import History
from benchmarks.suites import Options

KEYS = 40
GROUP = 200


def run(options: Options) -> None:
    """Make a history, store it, and fold it again and again."""
    events = 20_000 if options.quick else 100_000
    report.RESULTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rebuild-", dir=report.RESULTS) as folder:
        database = Path(folder, "log.db")
        history = _history(events)
        asyncio.run(_store(database, history))
        result = _measure(database, history, options.rounds)
    rows = [
        [told, report.number(result[f"{name}_per_s"], 0), report.number(result[f"{name}_s"], 2)]
        for name, told in FIGURES.items()
    ]
    title = f"{result['events']:,} events, {result['bytes_per_event']:.0f} bytes each in the file"
    report.table(title, ["", "events/s", "s"], rows)
    report.save("rebuild", {"quick": options.quick, "rounds": options.rounds}, result)


FIGURES = {
    "fold": "fold events that are in memory",
    "read": "read and decode the file",
    "rebuild": "both: the file becomes a state",
}


def _history(events: int) -> list[NewEvent]:
    history = History(KEYS)
    made = history.opening()
    while len(made) < events:
        made.extend(history.serve())
    return made


async def _store(database: Path, events: list[NewEvent]) -> None:
    log = SqliteLog(database, synchronous="NORMAL")
    for begin in range(0, len(events), GROUP):
        await log.append(events[begin : begin + GROUP])
    await log.close()


def _measure(database: Path, events: list[NewEvent], rounds: int) -> dict[str, Any]:
    recorded = [Recorded(position, *event) for position, event in enumerate(events, 1)]
    log = SqliteReader(database)
    result: dict[str, Any] = {"events": len(events), "bytes_per_event": database.stat().st_size / len(events)}
    actions: dict[str, Callable[[], object]] = {
        "fold": lambda: RouterState().fold(recorded),
        "read": lambda: sum(1 for _ in log.read()),
        "rebuild": lambda: RouterState().fold(log.read()),
    }
    for name, action in actions.items():
        seconds = report.middle(_seconds(action) for _ in range(rounds)) or 0.0
        result |= {f"{name}_s": seconds, f"{name}_per_s": len(events) / seconds}
    return result


def _seconds(action: Callable[[], object]) -> float:
    gc.collect()
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin

"""How long a node takes to start on a long log, and what snapshots cost: pause, time and size."""

import asyncio
import gc
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from apikeyrouter.adapters.eventlog.sqlite_log import SqliteLog
from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.adapters.snapshots.frozen_state import FrozenState, thawed
from apikeyrouter.adapters.snapshots.opening import open_snapshots
from apikeyrouter.adapters.snapshots.snapshot_file import KEY_BYTES, Head, sealed
from apikeyrouter.adapters.snapshots.snapshot_folder import snapshot_folder_beside
from apikeyrouter.application.snapshots.folding import folded
from apikeyrouter.application.snapshots.ports import NO_SNAPSHOTS
from apikeyrouter.application.snapshots.taking import EVERY_EVENTS
from apikeyrouter.bootstrap import open_node
from apikeyrouter.domain.events import BudgetOpened, BudgetTerms, NewEvent, budget_stream
from apikeyrouter.settings import RouterSettings
from benchmarks import report
from benchmarks.history import EPOCH_US, History
from benchmarks.suites import Options

KEYS_OF_LOGS = (1, 100)
KEYS_OF_STATES = (1, 100, 1_000)
LIMITS = {"rpm": 1_000_000, "tpm": 1_000_000_000, "rpd": 1_000_000_000}
GROUP = 200
HEAD = Head(position=0, latest_us=0, first_row="0" * 64, row="0" * 64, fold="0" * 64)


def run(options: Options) -> None:
    """Start on logs with and without snapshots, then take snapshots of states in memory."""
    events = 100_000 if options.quick else 1_000_000
    requests = 5_000 if options.quick else 20_000
    starts = [_starts(keys, events, options.rounds) for keys in KEYS_OF_LOGS]
    costs = [_costs(keys, requests, options.rounds) for keys in KEYS_OF_STATES]
    rows = [
        [f"{told}, {result['keys']:,} keys", report.number(result[f"{name}_s"], 2)]
        for result in starts
        for name, told in STARTS.items()
    ]
    report.table(f"From opening the log to serving, {events:,} events", ["", "s"], rows)
    rows = [[f"{result['keys']:,}", *(report.number(result[name], 1) for name in COSTS)] for result in costs]
    report.table(f"One snapshot, after {requests:,} requests", ["keys", *COSTS.values()], rows)
    report.save(
        "start", {"quick": options.quick, "rounds": options.rounds}, {"starts": starts, "costs": costs}
    )


STARTS = {
    "whole": "no snapshot: every event is folded",
    "killed": f"after a kill: {EVERY_EVENTS:,} events behind the snapshot",
    "stopped": "after a stop in good order",
}
COSTS = {
    "pause_ms": "pause of the loop, ms",
    "encode_ms": "encode and seal in a thread, ms",
    "thaw_ms": "back to a state, ms",
    "kib": "KiB on the disk",
}


class BudgetedHistory(History):
    """Keys with three quotas and a budget each."""

    def __init__(self, keys: int) -> None:
        super().__init__(keys, limits=LIMITS)

    def opening(self) -> list[NewEvent]:
        """Register the keys, then open their budgets."""
        terms = BudgetTerms(limit_nano_usd=10**15, unit="month", enforcement="soft", alerts_percent=(50,))
        budgets = [
            NewEvent(
                budget_stream(f"b{number}"),
                1,
                BudgetOpened(
                    at_us=EPOCH_US, actor="bench", scope="key", scope_id=f"k{number:05}", terms=terms
                ),
            )
            for number in range(self._keys)
        ]
        events = super().opening()
        self.state.apply(budgets)
        return [*events, *budgets]

    def happening(self) -> Iterator[NewEvent]:
        """Yield all that happens, without end."""
        yield from self.opening()
        while True:
            yield from self.serve()


def _starts(keys: int, events: int, rounds: int) -> dict[str, Any]:
    report.RESULTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="start-", dir=report.RESULTS) as folder:
        path = Path(folder, "log.db")
        asyncio.run(_store(path, keys, events))
        whole_s = asyncio.run(_start(path))
        _as_after_a_kill(path)
        killed_s = asyncio.run(_start(path))
        stopped_s = report.middle([asyncio.run(_start(path)) for _ in range(rounds)])
    return {"keys": keys, "events": events, "whole_s": whole_s, "killed_s": killed_s, "stopped_s": stopped_s}


async def _store(path: Path, keys: int, events: int) -> None:
    log = SqliteLog(path, synchronous="NORMAL")
    happening = islice(BudgetedHistory(keys).happening(), events)
    while group := list(islice(happening, GROUP)):
        await log.append(group)
    await log.close()


async def _start(path: Path) -> float:
    """Start a node and stop it; return how long the start took."""
    gc.collect()
    begin = time.perf_counter()
    node = await open_node(RouterSettings(database_url=str(path)))
    taken_s = time.perf_counter() - begin
    await node.close()
    return taken_s


def _as_after_a_kill(path: Path) -> None:
    """Leave the one snapshot that a running node would have taken last."""
    for file in snapshot_folder_beside(path).iterdir():
        file.unlink()
    reader = SqliteReader(path)
    state = folded(reader, NO_SNAPSHOTS, until=reader.head() - EVERY_EVENTS)
    open_snapshots(RouterSettings(database_url=str(path))).keep(state)


def _costs(keys: int, requests: int, rounds: int) -> dict[str, Any]:
    history = BudgetedHistory(keys)
    history.opening()
    while history.requests < requests:
        for _ in history.serve():
            pass
    measured = [_cost(history) for _ in range(rounds)]
    return {"keys": keys, **{name: report.middle(one[name] for one in measured) for name in COSTS}}


def _cost(history: History) -> dict[str, float]:
    begin = time.perf_counter()
    frozen = FrozenState(history.state)
    paused = time.perf_counter()
    content = frozen.encoded()
    file = sealed(HEAD, content, bytes(KEY_BYTES))
    encoded = time.perf_counter()
    thawed(content)
    thawed_at = time.perf_counter()
    return {
        "pause_ms": (paused - begin) * 1e3,
        "encode_ms": (encoded - paused) * 1e3,
        "thaw_ms": (thawed_at - encoded) * 1e3,
        "kib": len(file) / 1024,
    }

"""How fast history is made again: decisions compared byte by byte, and what-ifs, from the log's file.

By one process in processor time, by several in time that passes, and in how much memory.
"""

import asyncio
import gc
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from apikeyrouter.adapters.eventlog.sqlite_log import SqliteLog
from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.adapters.workers.processes import processors
from apikeyrouter.adapters.workers.verification import verify_in_processes
from apikeyrouter.adapters.workers.what_ifs import what_if_in_processes
from apikeyrouter.application.replay import verify
from apikeyrouter.application.turning_point import By, bisect
from apikeyrouter.application.what_if import Change, Stretch, what_if
from apikeyrouter.domain import settlement
from apikeyrouter.domain.events import Metadata, NewEvent, RequestCompleted, RouteDecided
from apikeyrouter.domain.interfaces.provider_adapter import Usage
from apikeyrouter.domain.objectives import policy_of
from apikeyrouter.domain.state import RouterState
from benchmarks import report
from benchmarks.history import History
from benchmarks.suites import Options

KEYS = 3
GROUP = 200
LIMITS: dict[str, Metadata] = {
    "no quotas": {},
    "quotas and forecasts": {"rpm": 1_000_000, "tpm": 1_000_000_000, "weight": 1},
}


def run(options: Options) -> None:
    """Store a history of requests, with and without quotas, and make it again."""
    requests = 10_000 if options.quick else 100_000
    report.RESULTS.mkdir(exist_ok=True)
    results = {}
    for told, limits in LIMITS.items():
        with tempfile.TemporaryDirectory(prefix="replay-", dir=report.RESULTS) as folder:
            database = Path(folder, "log.db")
            asyncio.run(_store(database, requests, limits))
            results[told] = _measure(database, requests, options.rounds)
            results[told]["shared"] = _shared(database, requests, options.rounds)
            results[told]["memory"] = _memory(database)
    _tell(requests, results)
    report.save("replay", {"quick": options.quick, "rounds": options.rounds}, results)


def _tell(requests: int, results: dict[str, Any]) -> None:
    rows = [
        [f"{figure}, {told}", report.number(result[name], 0), report.number(1e6 / result[name], 1)]
        for told, result in results.items()
        for name, figure in FIGURES.items()
    ]
    report.table(f"{requests:,} requests, {KEYS} keys", ["", "requests/s", "µs a request"], rows)
    shared = [
        [f"{action}, {told}", *(report.number(rate, 0) for rate in rates.values())]
        for told, result in results.items()
        for action, rates in result["shared"].items()
    ]
    columns = ["", *(f"{count}, requests/s" for count in _crews())]
    report.table("by so many processes, start included, in time that passes", columns, shared)
    memory = [
        [f"{action}, {told}", *map(str, peaks.values())]
        for told, result in results.items()
        for action, peaks in result["memory"].items()
    ]
    report.table("peak of memory, MB", ["", "a tenth of the log", "all of it"], memory)


FIGURES = {
    "read": "read and decode the file",
    "fold": "… and fold",
    "verify": "verify: … and decide again, compare bytes",
    "unchanged": "what-if, unchanged: … and all that follows",
    "objective": "what-if, another objective, one draw",
    "bisect": "bisect, two passes",
}


class SettledHistory(History):
    """A history whose settlements are those that the router would write."""

    def _completion(self, decision: RouteDecided) -> RequestCompleted:
        made = super()._completion(decision)
        outcome = settlement.Outcome(
            usage=Usage(made.input_tokens, made.output_tokens),
            model=made.model,
            finish_reason=made.finish_reason,
            upstream_request_id=made.upstream_request_id,
            response_bytes=made.response_bytes,
            response_sha256=made.response_sha256,
        )
        offer = self.state.providers[made.provider_id].models.get(decision.model)
        times = {name: getattr(made, name) for name in ("at_us", "elapsed_us", "first_byte_us")}
        return settlement.completed(decision, offer, outcome, **times)


async def _store(database: Path, requests: int, limits: Metadata) -> None:
    history = SettledHistory(KEYS, limits=limits)
    log = SqliteLog(database, synchronous="NORMAL")
    group: list[NewEvent] = history.opening()
    for _ in range(requests):
        group.extend(history.serve())
        if len(group) >= GROUP:
            await log.append(group)
            group = []
    if group:
        await log.append(group)
    await log.close()


def _measure(database: Path, requests: int, rounds: int) -> dict[str, Any]:
    log = SqliteReader(database)
    head = log.head()
    stretch = Stretch(draws=1)
    cost = Change(policy=policy_of("cost"))
    question = msgspec.structs.replace(History(KEYS).question(), policy=policy_of("cost"))
    actions: dict[str, Callable[[], object]] = {
        "read": lambda: sum(1 for _ in log.read()),
        "fold": lambda: RouterState().fold(log.read()),
        "verify": lambda: _identical(verify(log.read()).identical),
        "unchanged": lambda: _identical(what_if(log.read(), Change(), stretch).identical),
        "objective": lambda: what_if(log.read(), cost, stretch),
        "bisect": lambda: bisect(lambda high: log.read(until=high), question, first=1, last=head, by=By.Key),
    }
    return {
        name: requests / (report.middle(_seconds(action) for _ in range(rounds)) or 1.0)
        for name, action in actions.items()
    }


def _crews() -> tuple[int, ...]:
    return tuple(dict.fromkeys((1, processors())))


def _shared(database: Path, requests: int, rounds: int) -> dict[str, dict[int, float]]:
    """Measure the best of some rounds, crews in turn: neighbours on the same processors count here."""
    head = SqliteReader(database).head()
    cost, stretch = Change(policy=policy_of("cost")), Stretch(draws=1)
    actions: dict[str, Callable[[int], object]] = {
        "verify": lambda crew: verify_in_processes(database, 1, head, crew, _unheard),
        "what-if, two runs": lambda crew: what_if_in_processes(
            database, head, cost, stretch, workers=crew, passed=_unheard
        ),
    }
    return {name: _rates(action, requests, rounds) for name, action in actions.items()}


def _rates(action: Callable[[int], object], requests: int, rounds: int) -> dict[int, float]:
    seconds: dict[int, float] = {}
    for _ in range(rounds):
        for crew in _crews():
            begin = time.perf_counter()
            action(crew)
            seconds[crew] = min(seconds.get(crew, 1e9), time.perf_counter() - begin)
    return {crew: requests / best for crew, best in seconds.items()}


def _unheard(_count: int) -> None:
    """Hear nothing of how far workers have come."""


def _memory(database: Path) -> dict[str, dict[int, int]]:
    """Measure the peak of a process over a tenth of the log, and over all of it."""
    head = SqliteReader(database).head()
    return {
        action: {until: _peak_mb(database, action, until) for until in (head // 10, head)}
        for action in ("fold", "verify", "what-if", "bisect")
    }


def _peak_mb(database: Path, action: str, until: int) -> int:
    command = [sys.executable, "-m", "benchmarks.replay_memory", str(database), action, str(until)]
    return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def _identical(identical: bool) -> None:  # noqa: FBT001 - what was found
    assert identical, "history does not come out again"


def _seconds(action: Callable[[], object]) -> float:
    """Measure processor time: one process computes and hardly waits, and its neighbours do not count."""
    gc.collect()
    begin = time.process_time()
    action()
    return time.process_time() - begin

"""Read models made anew from a log, and how long each report over all of it takes."""

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
from apikeyrouter.adapters.reports.answers import Answers
from apikeyrouter.adapters.reports.catalogue import REPORTS
from apikeyrouter.adapters.reports.files import fingerprints, rebuild
from apikeyrouter.adapters.reports.store import ReadModelFile
from apikeyrouter.application.reporting.questions import Filter, ReportQuestion
from apikeyrouter.domain.events import NewEvent
from benchmarks import report
from benchmarks.suites import Options
from benchmarks.varied_history import VariedHistory

KEYS = 40
GROUP = 200
BERLIN = "Europe/Berlin"
WIDER = {
    "spend by all words": ReportQuestion(
        report="spend", by=("client", "team", "model", "provider", "key"), limit=100_000
    ),
    "spend by day and client, Berlin": ReportQuestion(report="spend", by=("day", "client"), zone=BERLIN),
    "spend by tag": ReportQuestion(report="spend", by=("tag",)),
    "sla by hour and key, Berlin": ReportQuestion(
        report="sla", by=("hour", "key"), zone=BERLIN, limit=100_000
    ),
    "calls of one key": ReportQuestion(report="completeness", where=(Filter("key", ("k00007",)),)),
}


def run(options: Options) -> None:
    """Make a log, rebuild its read models, and ask every report."""
    events = 100_000 if options.quick else 1_000_000
    report.RESULTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="reports-", dir=report.RESULTS) as folder:
        log = Path(folder, "log.db")
        asyncio.run(_store(log, events))
        rebuilt = [_rebuild(log, Path(folder, f"{number}.db")) for number in range(options.rounds)]
        asked = _ask_all(Path(folder, "0.db"), options.rounds)
    per_s = report.middle(one["per_s"] for one in rebuilt)
    same = len({one["sha256"] for one in rebuilt}) == 1
    title = (
        f"{rebuilt[0]['events']:,} events; contents the same after each rebuild: {'yes' if same else 'NO'}"
    )
    report.table(title, ["", "events/s", "MiB"], [["rebuild", report.number(per_s, 0), _mib(rebuilt[0])]])
    rows = [[name, report.number(one["ms"], 0), f"{one['rows']:,}"] for name, one in asked.items()]
    report.table("Reports over all of it, as the CLI asks them", ["", "ms", "rows"], rows)
    report.save(
        "reports", {"quick": options.quick, "rounds": options.rounds}, {"rebuild": rebuilt, "asked": asked}
    )


def _mib(rebuilt: dict[str, Any]) -> str:
    return report.number(rebuilt["bytes"] / 2**20, 0)


async def _store(path: Path, events: int) -> None:
    log = SqliteLog(path, synchronous="NORMAL")
    happening = _happening(events)
    while group := list(islice(happening, GROUP)):
        await log.append(group)
    await log.close()


def _happening(events: int) -> Iterator[NewEvent]:
    history = VariedHistory(KEYS, events)
    opening = history.opening()
    yield from opening
    made = len(opening)
    while made < events:
        for event in history.serve():
            made += 1
            yield event


def _rebuild(log: Path, path: Path) -> dict[str, Any]:
    gc.collect()
    begin_s = time.perf_counter()
    events = rebuild(SqliteReader(log), path)
    seconds = time.perf_counter() - begin_s
    with ReadModelFile(path) as store:
        contents = fingerprints(store)
    size = path.stat().st_size
    return {"events": events, "s": seconds, "per_s": events / seconds, "bytes": size, "sha256": str(contents)}


def _ask_all(path: Path, rounds: int) -> dict[str, dict[str, Any]]:
    questions = {**{name: ReportQuestion(report=name) for name in REPORTS}, **WIDER}
    return {name: _ask(path, question, rounds) for name, question in questions.items()}


def _ask(path: Path, question: ReportQuestion, rounds: int) -> dict[str, Any]:
    """Ask on a file opened for it, as every command and every call of the API does."""
    taken_ms: list[float] = []
    for _ in range(rounds):
        begin_s = time.perf_counter()
        with ReadModelFile(path) as store:
            answer = Answers(store).ask(question)
        taken_ms.append((time.perf_counter() - begin_s) * 1e3)
    return {"ms": report.middle(taken_ms), "rounds_ms": taken_ms, "rows": len(answer.rows)}

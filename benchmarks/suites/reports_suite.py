"""Read models made anew from a log, how long each report over all of it takes, and the trail of a request."""

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
from apikeyrouter.application.audit import trail
from apikeyrouter.application.reporting.questions import Filter, ReportQuestion
from apikeyrouter.domain.events import NewEvent, request_stream
from benchmarks import report
from benchmarks.crowded_log import crowded
from benchmarks.suites import Options
from benchmarks.varied_history import VariedHistory

KEYS = 40
GROUP = 200
TRAILS = 100
EVENTS_BETWEEN = 1000
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
        log, crowded_log = Path(folder, "log.db"), Path(folder, "crowded.db")
        asyncio.run(_store(log, _happening(events)))
        asyncio.run(_store(crowded_log, crowded(events)))
        rebuilt = [_rebuild(log, Path(folder, f"{number}.db")) for number in range(options.rounds)]
        asked = _ask_all(Path(folder, "0.db"), options.rounds)
        trails = {"a month of requests": _trails(log), "all of one refused key": _trails(crowded_log)}
    per_s = report.middle(one["per_s"] for one in rebuilt)
    same = len({one["sha256"] for one in rebuilt}) == 1
    title = (
        f"{rebuilt[0]['events']:,} events; contents the same after each rebuild: {'yes' if same else 'NO'}"
    )
    report.table(title, ["", "events/s", "MiB"], [["rebuild", report.number(per_s, 0), _mib(rebuilt[0])]])
    rows = [[name, report.number(one["ms"], 0), f"{one['rows']:,}"] for name, one in asked.items()]
    report.table("Reports over all of it, as the CLI asks them", ["", "ms", "rows"], rows)
    told = [[name, *(report.number(one[part], 1) for part in ("p50", "max"))] for name, one in trails.items()]
    report.table("The trail of a request, ms", ["log", "p50", "max"], told)
    settings = {"quick": options.quick, "rounds": options.rounds}
    report.save("reports", settings, {"rebuild": rebuilt, "asked": asked, "trails": trails})


def _mib(rebuilt: dict[str, Any]) -> str:
    return report.number(rebuilt["bytes"] / 2**20, 0)


async def _store(path: Path, happening: Iterator[NewEvent]) -> None:
    log = SqliteLog(path, synchronous="NORMAL")
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


def _trails(path: Path) -> dict[str, float]:
    """Ask for the trails of requests all over a log, as `explain` does, each in a time of its own."""
    reader = SqliteReader(path)
    last, taken_ms = reader.head() - 1, []
    for number in range(1, TRAILS + 1):
        place = last * number // (TRAILS + 1)
        events = islice(reader.read(place), EVENTS_BETWEEN)
        stream = next(one.stream for one in events if one.stream.startswith(request_stream("")))
        begin_s = time.perf_counter()
        trail(reader, stream).as_data()
        taken_ms.append((time.perf_counter() - begin_s) * 1e3)
    return {"p50": report.middle(taken_ms), "max": max(taken_ms)}


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

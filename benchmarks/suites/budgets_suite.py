"""Budgets under load: what each gateway lets through above them, what it refuses, and what they cost us."""

import sys
import tempfile
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from apikeyrouter.interfaces.scripted_provider import KeyScript, LedgerView, Script, ScriptedModel
from benchmarks import report
from benchmarks.budgets import overhead
from benchmarks.budgets.contenders import CONTENDERS, NANO, Contender
from benchmarks.budgets.crowd import ask_all
from benchmarks.budgets.plan import KEYS, LATENCY_MS, LONGEST_ANSWER, Load, loads
from benchmarks.budgets.verdict import Verdict, judge
from benchmarks.gateways import Place
from benchmarks.processes import Child, Cores, NotStartedError, free_port
from benchmarks.routers.race import START_WITHIN_S, URL
from benchmarks.suites import Options
from benchmarks.wire import MODEL

REQUESTS, QUICK_REQUESTS = 900, 200
ROUNDS_OF_OVERHEAD, SECONDS_OF_OVERHEAD = 5, 1.5


def run(options: Options) -> None:
    """Let every contender hold the same budgets, weigh what budgets cost us, and print tables."""
    names = options.gateways
    contenders = [each for each in CONTENDERS if not names or each.name in names]
    requests = QUICK_REQUESTS if options.quick else REQUESTS
    absent: dict[str, str] = {}
    rounds = [
        row
        for number in range(options.rounds)
        for load in loads(requests, number + 1)
        for row in _scenario(number, load, contenders, absent)
    ]
    weighed = overhead.measure(options.rounds * ROUNDS_OF_OVERHEAD, SECONDS_OF_OVERHEAD)
    _show(rounds, absent)
    overhead.show(weighed)
    versions = {each.name: each.version() for each in contenders if each.name not in absent}
    results = {"versions": versions, "absent": absent, "rounds": rounds, "overhead": weighed}
    report.save("budgets", {"quick": options.quick, "rounds": options.rounds, "requests": requests}, results)


def _scenario(
    number: int, load: Load, contenders: list[Contender], absent: dict[str, str]
) -> Iterator[dict[str, Any]]:
    for contender in contenders if number % 2 == 0 else contenders[::-1]:
        if load.scenario not in contender.scenarios:
            continue
        try:
            verdict = _turn(contender, load)
        except NotStartedError as error:
            absent[contender.name] = str(error)
            continue
        report.note(
            f"round {number + 1}, {load.scenario}, {contender.name}: {verdict.answered} answered,"
            f" {verdict.refused} refused, {_usd(verdict.over)} USD over"
        )
        yield {"round": number, "scenario": load.scenario, "gateway": contender.name, **asdict(verdict)}


def _turn(contender: Contender, load: Load) -> Verdict:
    """Run one gateway before a provider of its own, and ask the provider what it billed."""
    cores = Cores.choose()
    report.RESULTS.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="budgets-", dir=report.RESULTS) as name,
        _provider(load, Path(name), cores.load) as provider_url,
    ):
        place = Place(provider_url, free_port(), cores.gateway, Path(name))
        child = contender.start(load, place)
        try:
            child.wait_for_port(place.port, START_WITHIN_S)
            before_ms = child.cpu_ms()
            told = ask_all(contender, load, place.port)
            cpu_ms = child.cpu_ms() - before_ms
        finally:
            child.stop()
        ledger = _ledger(provider_url)
    return judge(load, told, ledger.calls, contender.bound, cpu_ms)


@contextmanager
def _provider(load: Load, folder: Path, core: int) -> Iterator[str]:
    """Script a provider that takes its time; what its keys cost is the plan's own business."""
    keys = {
        key.name: KeyScript(key=key.material, latency_ms=LATENCY_MS, output_tokens=LONGEST_ANSWER)
        for key in KEYS
    }
    path = folder / "script.json"
    script = Script(keys=keys, models={MODEL: ScriptedModel()}, remembered_calls=10 * len(load.asks))
    path.write_bytes(msgspec.json.encode(script))
    command = [sys.executable, "-m", "apikeyrouter.interfaces.scripted_provider", "--script", str(path)]
    provider = Child(command, core=core, log=folder / "provider.txt")
    try:
        yield provider.wait_for_word(URL, START_WITHIN_S)
    finally:
        provider.stop()


def _ledger(provider_url: str) -> LedgerView:
    with urllib.request.urlopen(f"{provider_url}/_scripted/ledger?calls=1000000", timeout=30) as answer:
        return msgspec.json.decode(answer.read(), type=LedgerView)


def _show(rounds: list[dict[str, Any]], absent: dict[str, str]) -> None:
    for scenario, told in dict.fromkeys((load.scenario, load.told) for load in loads(1, 1)):
        rows = [row for row in rounds if row["scenario"] == scenario]
        names = dict.fromkeys(row["gateway"] for row in rows)
        shown = [_line(name, [row for row in rows if row["gateway"] == name]) for name in names]
        title = f"{scenario}: {told}; medians of the rounds"
        report.table(title, ["gateway", *COLUMNS], shown)
    for row in rounds:
        if row["failed"]:
            where = f"round {row['round'] + 1} {row['scenario']} {row['gateway']}"
            report.note(f"look at: {where}: {row['failed']} failed, the first: {row['first_failure'][:200]}")
    for name, reason in absent.items():
        report.note(f"not measured: {name}: {reason}")


COLUMNS = (
    "answered",
    "refused",
    "though its bound fits",
    "though the tightest fits",
    "failed",
    "over, USD",
    "over, % of all limits",
    "worst budget, %",
    "budgets overrun",
    "left, % of all limits",
    "CPU ms/request",
)


def _line(name: str, rows: list[dict[str, Any]]) -> list[str]:
    def middle(values: Iterable[float], digits: int = 0) -> str:
        return report.number(report.middle(values), digits)

    return [
        name,
        *(middle(row[field] for row in rows) for field in COUNTS),
        middle((row["over"] / NANO for row in rows), 6),
        middle((100 * row["over"] / row["limits"] for row in rows), 2),
        middle((row["worst_percent"] for row in rows), 2),
        middle(len(row["over_by"]) for row in rows),
        middle((100 * row["left"] / row["limits"] for row in rows), 2),
        middle((row["cpu_ms"] for row in rows), 2),
    ]


COUNTS = ("answered", "refused", "refused_though_own_fits", "refused_though_tightest_fits", "failed")


def _usd(nano_usd: int) -> str:
    return f"{nano_usd / NANO:.6f}"

"""What budgets cost: the CPU of our proxy for one request, with and without three hard ones that pay for it.

Two proxies alike, one of them with budgets of the whole, of a client and of a team, all far from spent. Each
round gives every case the same load, backwards every second time.
"""

import asyncio
from pathlib import Path
from typing import Any, NamedTuple

from apikeyrouter import ApiKeyRouter, RouterSettings
from apikeyrouter.domain.offers import parse_offers
from apikeyrouter.infrastructure.adapters.openai_adapter import OpenAIAdapter
from benchmarks import report
from benchmarks.apikeyrouter_setup import serve_command, serve_environment
from benchmarks.gateways import Gateway, Place
from benchmarks.processes import Child, NotStartedError
from benchmarks.stage import CLIENT_HEADERS, Actor, Stage
from benchmarks.wire import MODEL, PROVIDER_KEY

CLIENT, TEAM = "bench-client", "bench-team"
BUDGETS = (("global", None), ("client", CLIENT), ("team", TEAM))
OFFER = {"model": MODEL, "input_usd_per_mtok": "0.15", "output_usd_per_mtok": "0.60"}
NAMED = {**CLIENT_HEADERS, "x-akr-client": CLIENT, "x-akr-team": TEAM}
PLAIN, CALLERS, BUDGETED = "no budgets, nobody named", "no budgets, caller named", "three hard budgets"

CASES = (PLAIN, CALLERS, BUDGETED)


class Case(NamedTuple):
    """One way to ask: which proxy, and with which headers."""

    name: str
    actor: Actor
    headers: dict[str, str]


def measure(rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Return CPU and throughput of every case in every round."""
    with Stage(5.0) as stage:
        without, with_budgets = (
            _brought_in(stage, gateway)
            for gateway in (_gateway(has_budgets=False), _gateway(has_budgets=True))
        )
        cases = [
            Case(PLAIN, without, CLIENT_HEADERS),
            Case(CALLERS, without, NAMED),
            Case(BUDGETED, with_budgets, NAMED),
        ]
        return [
            _turn(stage, case, number, seconds)
            for number in range(rounds)
            for case in (cases if number % 2 == 0 else cases[::-1])
        ]


def _turn(stage: Stage, case: Case, number: int, seconds: float) -> dict[str, Any]:
    terms: dict[str, Any] = {"mode": "closed", "connections": 64, "headers": case.headers}
    case.actor.child.resume()
    stage.load(case.actor, **terms, seconds=0.5)
    weighed = stage.weigh(case.actor, **terms, seconds=seconds)
    case.actor.child.pause()
    row = {
        "round": number,
        "case": case.name,
        "cpu_ms": weighed.cpu_ms_per_request,
        "per_second": weighed.report.per_second,
        "completed": weighed.report.completed,
        "failed": weighed.report.failed,
        "first_failure": weighed.report.first_failure,
        "strangers_busy": weighed.strangers_busy,
    }
    report.note(f"round {number + 1}, {case.name}: {row['cpu_ms']:.3f} ms CPU, {row['failed']} failed")
    return row


def _brought_in(stage: Stage, gateway: Gateway) -> Actor:
    actor = stage.bring_in(gateway)
    if actor is None:
        raise NotStartedError(stage.absent[gateway.name])
    stage.load(actor, mode="closed", connections=16, seconds=2.0, headers=NAMED)
    actor.child.pause()
    return actor


def _gateway(*, has_budgets: bool) -> Gateway:
    return Gateway(
        name="with-budgets" if has_budgets else "without-budgets",
        told="this project, strict",
        start=lambda place: _start(place, has_budgets=has_budgets),
        version=lambda: "",
    )


def _start(place: Place, *, has_budgets: bool) -> Child:
    database = place.folder / "router.db"
    asyncio.run(_prepare(database, place.upstream_url, has_budgets=has_budgets))
    command, env = serve_command(place.port, database), serve_environment("strict", "FULL")
    return Child(command, core=place.core, log=place.folder / "log.txt", env=env)


async def _prepare(database: Path, upstream_url: str, *, has_budgets: bool) -> None:
    adapter = OpenAIAdapter(base_url=f"{upstream_url}/v1", models=parse_offers([OFFER]))
    async with ApiKeyRouter(config=RouterSettings(database_url=str(database))) as router:
        await router.register_provider("openai", adapter)
        await router.register_key(PROVIDER_KEY, "openai")
        for scope, scope_id in BUDGETS if has_budgets else ():
            await router.cost_controller.create_budget(scope, 1_000_000, "daily", "hard", scope_id)


def show(rows: list[dict[str, Any]]) -> None:
    """Print the CPU of each case, and the ratios that were taken within each round."""
    by_case = {case: {row["round"]: row for row in rows if row["case"] == case} for case in CASES}
    shown = [
        [
            case,
            report.spread([row["cpu_ms"] for row in by_case[case].values()], 3),
            report.spread(_ratios(by_case[case], by_case[PLAIN]), 3),
            report.spread(_ratios(by_case[case], by_case[CALLERS]), 3),
            report.number(report.middle(row["per_second"] for row in by_case[case].values()), 0),
        ]
        for case in CASES
    ]
    columns = ["", "CPU ms/request", f"ratio to: {PLAIN}", f"ratio to: {CALLERS}", "requests/s"]
    report.table(
        "What three hard budgets cost a request, median (least to greatest) of the rounds", columns, shown
    )
    report.note(f"cores taken by other processes: {report.spread([row['strangers_busy'] for row in rows])}")


def _ratios(rows: dict[int, dict[str, Any]], others: dict[int, dict[str, Any]]) -> list[float]:
    return [row["cpu_ms"] / others[number]["cpu_ms"] for number, row in rows.items()]

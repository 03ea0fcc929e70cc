"""Routers side by side: the same traffic over the same limited keys, some of which die, slow or shrink."""

import tempfile
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.routers import tables
from benchmarks.routers.catalogue import Router, chosen
from benchmarks.routers.plan import Plan
from benchmarks.routers.planning import found_trace, make_plan
from benchmarks.routers.race import Race
from benchmarks.routers.scenarios import Scenario, scenarios
from benchmarks.suites import Options

SECONDS = 180.0
QUICK_SECONDS = 25.0
FIRST_SLICE_S = 600.0
SLICE_STEP_S = 300.0


def run(options: Options) -> None:
    """Race the routers through every scenario, print tables, write the figures."""
    routers = chosen(options.routers)
    trace = Path(options.trace) if options.trace else found_trace()
    seconds = QUICK_SECONDS if options.quick else SECONDS
    source = trace.name if trace else "the model in interfaces/traffic"
    report.note(f"traffic: {source}; {seconds:.0f} s for each scenario, in real time")
    plans = [
        make_plan(trace, FIRST_SLICE_S + number * SLICE_STEP_S, seconds) for number in range(options.slices)
    ]
    absent: dict[str, str] = {}
    rounds = [
        _race(number, plan, scenario, seconds, routers, absent)
        for number, plan in enumerate(plans)
        for scenario in scenarios(options.scenarios)
    ]
    for name, reason in absent.items():
        report.note(f"absent: {name}: {reason}")
    tables.show(rounds)
    _save(options, {"traffic": source, "seconds": seconds}, _results(routers, plans, rounds, absent))


def _race(
    number: int, plan: Plan, scenario: Scenario, seconds: float, routers: list[Router], absent: dict[str, str]
) -> tables.Round:
    report.note(f"slice {number + 1}, {scenario.name}: {scenario.told}; {len(plan.requests)} requests")
    report.RESULTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="routing-", dir=report.RESULTS) as folder:
        race = Race(plan, scenario, seconds, Path(folder))
        figures = race.run(routers)
    absent.update({f"{name} ({scenario.name})": reason for name, reason in race.absent.items()})
    return tables.Round(number, scenario.name, figures)


def _results(
    routers: list[Router], plans: list[Plan], rounds: list[tables.Round], absent: dict[str, str]
) -> dict[str, Any]:
    there = {name for one in rounds for name in one.figures}
    return {
        "versions": {router.name: router.version() for router in routers if router.name in there},
        "absent": absent,
        "plans": [tables.plain_plan(plan) for plan in plans],
        "rounds": [tables.plain_round(one) for one in rounds],
    }


def _save(options: Options, terms: dict[str, Any], results: dict[str, Any]) -> None:
    path = report.save("routing", {"quick": options.quick, "slices": options.slices, **terms}, results)
    if options.as_json:
        print(path.read_text())

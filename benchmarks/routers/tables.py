"""The tables of the routing suite: figures by scenario, what failed, and ratios to LiteLLM's default."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from benchmarks import report
from benchmarks.routers.catalogue import BASE
from benchmarks.routers.figures import Figures
from benchmarks.routers.plan import Plan


class Round(NamedTuple):
    """The figures of all routers in one scenario over one slice of the traffic."""

    slice: int
    scenario: str
    figures: dict[str, Figures]


Read = Callable[[Figures], float]
COLUMNS: dict[str, tuple[Read, int]] = {
    "failed": (lambda one: one.failed, 0),
    "failed %": (lambda one: 100 * one.failed / max(1, one.requests), 2),
    "429s upstream": (lambda one: one.upstream_429, 0),
    "401s upstream": (lambda one: one.upstream_401, 0),
    "calls / request": (lambda one: one.calls_per_request, 3),
    "waited mean ms": (lambda one: 1000 * one.waited_mean_s, 0),
    "waited p50 ms": (lambda one: 1000 * one.waited_p50_s, 1),
    "waited p99 ms": (lambda one: 1000 * one.waited_p99_s, 0),
    "fullest / mean": (lambda one: one.fullest_to_mean, 2),
    "Jain": (lambda one: one.jain, 3),
    "USD / 1000": (lambda one: one.usd_per_1000, 3),
    "CPU s": (lambda one: one.cpu_s, 2),
}
COMPARED = (
    "failed",
    "429s upstream",
    "401s upstream",
    "calls / request",
    "waited mean ms",
    "waited p50 ms",
    "waited p99 ms",
    "USD / 1000",
    "CPU s",
)


def show(races: Sequence[Round]) -> None:
    """Print figures, failures and ratios of every scenario."""
    for scenario in dict.fromkeys(race.scenario for race in races):
        mine = [race for race in races if race.scenario == scenario]
        names = list(dict.fromkeys(name for race in mine for name in race.figures))
        requests = mine[0].figures[names[0]].requests if names else 0
        rows = [[name, *_row(mine, name)] for name in names]
        report.table(f"{scenario}: {requests} requests; medians of the slices", ["", *COLUMNS], rows)
        for name in names:
            report.note(_failures(mine, name))
        ratios = [[name, *_ratio_row(mine, name)] for name in names if name != BASE]
        if BASE in names:
            report.table(f"{scenario}: ratios to {BASE}", ["", *COMPARED], ratios)


def _row(races: Sequence[Round], name: str) -> list[str]:
    shown = [race.figures[name] for race in races if name in race.figures]
    return [
        report.number(report.middle(read(one) for one in shown), digits) for read, digits in COLUMNS.values()
    ]


def _ratio_row(races: Sequence[Round], name: str) -> list[str]:
    both = [race.figures for race in races if name in race.figures and BASE in race.figures]
    reads = [COLUMNS[column][0] for column in COMPARED]
    return [_ratio([(read(one[name]), read(one[BASE])) for one in both]) for read in reads]


def _ratio(pairs: Sequence[tuple[float, float]]) -> str:
    """Show the median of the ratios; where the other had none of it there is no ratio."""
    return report.number(report.middle(mine / base for mine, base in pairs if base > 0))


def _failures(races: Sequence[Round], name: str) -> str:
    kinds: Counter[str] = Counter()
    for race in races:
        if name in race.figures:
            kinds.update(race.figures[name].failures)
    told = ", ".join(f"{kind}: {count}" for kind, count in kinds.most_common(4)) or "none"
    return f"  {name} failures: {told}"


def plain_plan(plan: Plan) -> dict[str, Any]:
    """Return what is told of a plan in the file: its keys, and the sums of its requests."""
    return {
        "keys": [asdict(key) for key in plan.keys],
        "requests": len(plan.requests),
        "input_tokens": sum(one.input_tokens for one in plan.requests),
        "output_tokens": sum(one.output_tokens for one in plan.requests),
        "attempts": plan.attempts,
        "timeout_s": plan.timeout_s,
        "queue_timeout_s": plan.queue_timeout_s,
    }


def plain_round(race: Round) -> dict[str, Any]:
    """Return a race as it is written to the file."""
    return {
        "slice": race.slice,
        "scenario": race.scenario,
        "routers": {name: _figures(one) for name, one in race.figures.items()},
    }


def _figures(one: Figures) -> dict[str, Any]:
    return {**asdict(one), "calls_per_request": one.calls_per_request}

"""What one routing decision costs, by the number of keys: fresh, and after ten thousand requests."""

import gc
import time
from collections.abc import Callable
from typing import Any

from apikeyrouter.domain.events import Metadata
from apikeyrouter.domain.routing import decide
from benchmarks import report
from benchmarks.history import History
from benchmarks.suites import Options

KEYS = (3, 100, 1_000)
OBJECTIVES = ("fairness", "cost")
LIMITS: dict[str, Metadata] = {
    "no quotas": {},
    "quotas and forecasts": {"rpm": 1_000_000, "tpm": 1_000_000_000, "weight": 1},
}
HISTORY_REQUESTS = 10_000


def run(options: Options) -> None:
    """Measure every number of keys under every objective."""
    samples = 1_000 if options.quick else 5_000
    results = [
        _measure(keys, objective, limits, samples)
        for limits in LIMITS
        for objective in OBJECTIVES
        for keys in KEYS
    ]
    rows = [
        [
            f"{result['objective']}, {result['keys']:,} keys, {result['limits']}",
            *(report.number(result[figure], 1) for figure in FIGURES),
        ]
        for result in results
    ]
    report.table("One decision, µs", ["", *FIGURES.values()], rows)
    report.save("decision", {"quick": options.quick, "samples": samples}, results)


FIGURES = {
    "first_us": "first ever (pool built)",
    "fresh_p50_us": "no history, p50",
    "fresh_p99_us": "p99",
    "seasoned_p50_us": f"after {HISTORY_REQUESTS:,} requests, p50",
    "seasoned_p99_us": "p99 ",
    "serve_us": "decide, fold, settle, fold: mean",
}


def _measure(keys: int, objective: str, limits: str, samples: int) -> dict[str, Any]:
    history = History(keys, objective, LIMITS[limits])
    history.opening()

    def ask() -> None:
        decide(history.state, history.question())

    first_ns = _times_ns(_first(history), 20)
    fresh_ns = _times_ns(ask, samples)
    serve_us = _serve_us(history)
    seasoned_ns = _times_ns(ask, samples)
    return {
        "keys": keys,
        "objective": objective,
        "limits": limits,
        "first_us": report.quantile(first_ns, 0.5) / 1e3,
        "fresh_p50_us": report.quantile(fresh_ns, 0.5) / 1e3,
        "fresh_p99_us": report.quantile(fresh_ns, 0.99) / 1e3,
        "seasoned_p50_us": report.quantile(seasoned_ns, 0.5) / 1e3,
        "seasoned_p99_us": report.quantile(seasoned_ns, 0.99) / 1e3,
        "serve_us": serve_us,
    }


def _first(history: History) -> Callable[[], None]:
    """Return a decision that finds no pool kept from an earlier one."""

    def ask() -> None:
        history.state.pools.clear()
        decide(history.state, history.question())

    return ask


def _serve_us(history: History) -> float:
    begin_ns = time.perf_counter_ns()
    for _ in range(HISTORY_REQUESTS):
        for _event in history.serve():
            pass
    return (time.perf_counter_ns() - begin_ns) / HISTORY_REQUESTS / 1e3


def _times_ns(action: Callable[[], None], times: int) -> list[int]:
    """Time an action again and again, without the collector in between."""
    for _ in range(min(times, 50)):
        action()
    gc.collect()
    gc.disable()
    taken = []
    for _ in range(times):
        begin_ns = time.perf_counter_ns()
        action()
        taken.append(time.perf_counter_ns() - begin_ns)
    gc.enable()
    return taken

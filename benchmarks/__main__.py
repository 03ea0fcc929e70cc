"""Run the benchmarks: `python -m benchmarks [suite ...] [--quick]`."""

import argparse
import importlib
import sys

from benchmarks import report
from benchmarks.suites import Options

SUITES = {
    "gateway": "whole gateways side by side",
    "decision": "one routing decision, by number of keys",
    "eventlog": "durable appends",
    "rebuild": "folding a log into state",
    "start": "starting on a long log, and snapshots",
    "replay": "making decisions and histories again",
    "import": "import times in fresh processes",
    "library": "calls in process",
    "routing": "routers over the same limited keys",
    "budgets": "hard budgets under load, and what they cost",
    "reports": "read models made anew, and questions to them",
}


def main() -> None:
    """Run the chosen suites one after the other."""
    chosen = _arguments().parse_args()
    options = Options(
        quick=chosen.quick,
        rounds=chosen.rounds or 3,
        slices=chosen.rounds or 1,
        gateways=_names(chosen.gateways),
        soak_requests=chosen.soak_requests,
        soak_within_s=chosen.soak_within_s,
        trace=chosen.trace,
        routers=_names(chosen.routers),
        scenarios=_names(chosen.scenarios),
        as_json=chosen.json,
    )
    # With --json standard output is for the results alone.
    report.console.stderr = chosen.json
    broken = [suite for suite in chosen.suites or SUITES if not _runs(suite, options)]
    if broken:
        sys.exit(f"could not run: {', '.join(broken)}")


def _names(given: str | None) -> tuple[str, ...]:
    return tuple(given.split(",")) if given else ()


def _runs(suite: str, options: Options) -> bool:
    """Run a suite; what is wrong with one must not keep the others from running."""
    report.console.rule(f"{suite}: {SUITES[suite]}")
    try:
        importlib.import_module(f"benchmarks.suites.{suite}_suite").run(options)
    except Exception:  # noqa: BLE001 - told in full, and the process fails in the end
        report.console.print_exception()
        return False
    return True


def _arguments() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    arguments.add_argument("suites", nargs="*", choices=[*SUITES, []], help="all when none is named")
    arguments.add_argument("--quick", action="store_true", help="short phases, no soak")
    arguments.add_argument("--rounds", type=int, help="interleaved rounds (3); slices for routing (1)")
    arguments.add_argument("--gateways", help="only these, separated by commas")
    arguments.add_argument(
        "--soak-requests", type=int, default=100_000, help="requests before RSS is read; 0: none"
    )
    arguments.add_argument("--soak-within-s", type=float, default=120, help="bound of one soak")
    arguments.add_argument(
        "--trace", help="routing: a CSV file of arrivals; else ../shared/traces, or a model"
    )
    arguments.add_argument("--routers", help="routing: only these, separated by commas")
    arguments.add_argument("--scenarios", help="routing: only these, separated by commas")
    arguments.add_argument("--json", action="store_true", help="routing: results to standard output as well")
    return arguments


if __name__ == "__main__":
    main()

"""How long imports take in fresh processes."""

import subprocess
import sys
from typing import Any

from benchmarks import report
from benchmarks.suites import Options

STATEMENTS = {
    "apikeyrouter, names not yet used": "import apikeyrouter",
    "apikeyrouter's router": "from apikeyrouter import ApiKeyRouter",
    "apikeyrouter's app": "import apikeyrouter.interfaces.http.app",
    "apikeyrouter's command line": "import apikeyrouter.interfaces.cli.main",
    "fastapi alone, to compare": "import fastapi",
    "httpx alone, to compare": "import httpx",
}
TIMED = (
    "import sys, time; bare = len(sys.modules); begin = time.perf_counter()\n"
    "{statement}\n"
    "print(time.perf_counter() - begin, len(sys.modules) - bare)"
)


def run(options: Options) -> None:
    """Import each in several fresh processes."""
    times = 3 if options.quick else 9
    results = [_measure(told, statement, times) for told, statement in STATEMENTS.items()]
    rows = [
        [result["told"], report.number(result["median_ms"], 0), str(result["modules"] or result["failure"])]
        for result in results
    ]
    report.table(f"Imports, median of {times} fresh processes", ["", "ms", "modules"], rows)
    report.save("import", {"quick": options.quick}, results)


def _measure(told: str, statement: str, times: int) -> dict[str, Any]:
    runs = [_once(statement) for _ in range(times + 1)][1:]  # the first one writes byte code
    failures = [failure for _, _, failure in runs if failure]
    return {
        "told": told,
        "median_ms": report.middle(seconds * 1000 for seconds, _, _ in runs if seconds),
        "modules": max(modules for _, modules, _ in runs),
        "failure": failures[0] if failures else None,
    }


def _once(statement: str) -> tuple[float, int, str | None]:
    command = [sys.executable, "-c", TIMED.format(statement=statement)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        return 0.0, 0, done.stderr.strip().splitlines()[-1]
    seconds, modules = done.stdout.split()[-2:]
    return float(seconds), int(modules), None

"""What a suite leaves behind: tables on the terminal, and a JSON file with every single round."""

import json
import math
import os
import platform
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
ABSENT = "-"
console = Console(width=None if sys.stdout.isatty() else 150)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; the first column is text, the others are numbers."""
    shown = Table(title=title, title_justify="left", title_style="bold")
    for position, column in enumerate(columns):
        shown.add_column(column, justify="left" if position == 0 else "right", no_wrap=position == 0)
    for row in rows:
        shown.add_row(*row)
    console.print(shown)


def note(text: str) -> None:
    """Print a remark."""
    console.print(text, style="dim", highlight=False, markup=False, soft_wrap=True)


def save(suite: str, options: dict[str, Any], results: Any) -> Path:
    """Write the results of a suite with what is known of the machine."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{suite}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    content = {"suite": suite, "machine": machine(), "options": options, "results": results}
    path.write_text(json.dumps(content, indent=1) + "\n")
    note(f"written: {path}")
    return path


def machine() -> dict[str, Any]:
    """Describe where the figures were taken."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def number(value: float | None, digits: int = 2) -> str:
    """Show a number, or a dash where there is none."""
    return ABSENT if value is None or math.isnan(value) else f"{value:,.{digits}f}"


def middle(values: Iterable[float | None]) -> float | None:
    """Return the median of the values that are there."""
    there = [value for value in values if value is not None and not math.isnan(value)]
    return median(there) if there else None


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Show a median with the least and the greatest value."""
    if not values:
        return ABSENT
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def quantile(values: Iterable[float], share: float) -> float:
    """Return the value below which this share of the values lies."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan

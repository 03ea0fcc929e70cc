"""What commands share on a terminal: consoles, tables, and numbers as people read them."""

import json
import os
import sys
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

WIDTH_WHERE_NOBODY_LOOKS = 100
MOST_WIDTH = 2_000
NANO = 1_000_000_000
LEAST_DECIMALS = 4
US_PER_MS = 1000

STATE_STYLES = {
    "available": "green",
    "throttled": "yellow",
    "exhausted": "dark_orange",
    "recovering": "cyan",
    "draining": "cyan",
    "disabled": "bright_black",
    "invalid": "red",
    "revoked": "bright_black",
    "healthy": "green",
    "down": "red",
}


def console(*, errors: bool = False) -> Console:
    """Return a console on standard output or standard error, as wide as a page where that is no terminal."""
    file = sys.stderr if errors else sys.stdout
    fixed = not file.isatty() and "COLUMNS" not in os.environ
    return Console(file=file, highlight=False, width=WIDTH_WHERE_NOBODY_LOOKS if fixed else None)


def print_json(value: Any) -> None:
    """Print one JSON document."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def table(*headings: str, title: str | None = None) -> Table:
    """Return a table without a frame; a heading that begins with > makes a column of numbers."""
    made = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
    for heading in headings:
        made.add_column(heading.removeprefix(">"), justify="right" if heading.startswith(">") else "left")
    return made


def print_whole(page: Console, shown: Table) -> None:
    """Print a table none of whose cells is cut, though its lines may be longer than the screen."""
    needed = page.measure(shown, options=page.options.update(max_width=MOST_WIDTH)).maximum
    page.width = max(page.width, needed)
    page.print(shown)


def usd(nano_usd: int | None) -> str:
    """Write an amount exactly, without zeros that tell nothing; what has no price is not free."""
    if nano_usd is None:
        return "no price"
    whole, rest = divmod(nano_usd, NANO)
    decimals = f"{rest:09d}".rstrip("0").ljust(LEAST_DECIMALS, "0")
    return f"${whole:,}.{decimals}"


def rounded_usd(nano_usd: int) -> str:
    """Write an amount to a hundredth of a cent."""
    return f"${nano_usd / NANO:,.4f}"


def milliseconds(duration_us: float) -> str:
    """Write a duration."""
    return f"{duration_us / US_PER_MS:,.0f} ms"


def moment(at_us: int) -> str:
    """Write an instant, UTC to the millisecond."""
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def state_text(state: str) -> str:
    """Write the state of a key, or the health of a provider, in its colour."""
    return f"[{STATE_STYLES.get(state, 'default')}]{state}[/]"

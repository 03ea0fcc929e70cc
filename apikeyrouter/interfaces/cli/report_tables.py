"""Reports on a terminal, and into files."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from apikeyrouter.interfaces.cli.screen import console, milliseconds, moment, table, usd

if TYPE_CHECKING:
    from apikeyrouter.application.reporting.questions import ReportAnswer, ReportColumn
    from apikeyrouter.interfaces.report_desk import Traced

TABLE = "table"
MOST_CHARS = 60
"""Of a text in a table; other formats have it whole."""
MOST_WIDTH = 2_000
NOTHING = frozenset({"0", "-", "$0.0000"})


def put(answer: "ReportAnswer", form: str | None, output: Path | None) -> None:
    """Show an answer as a table, or write it in a format, to standard output or into a file."""
    from apikeyrouter.interfaces.report_formats import Format, written

    if form in {None, TABLE}:
        if output is not None:
            raise typer.BadParameter(
                "a file needs a format: json, jsonl, csv or parquet", param_hint="--format"
            )
        show(answer)
        return
    if form not in set(Format):
        raise typer.BadParameter(f"{form!r} is none of table, {', '.join(Format)}", param_hint="--format")
    content = written(answer, Format(form))
    if output is not None:
        output.write_bytes(content)
    elif form == Format.Parquet:
        raise typer.BadParameter("Parquet is no text: name a file", param_hint="--output")
    else:
        sys.stdout.write(content.decode())


def show(answer: "ReportAnswer") -> None:
    """Print a table with a line of sums; columns in which nothing was counted are left out."""
    page = console()
    page.print(answer.about, style="dim")
    rows = [_cells(answer, row) for row in answer.rows]
    if answer.total is not None:
        rows.append(_totals(answer))
    told = [
        place
        for place, column in enumerate(answer.columns)
        if column.groups or any(row[place] not in NOTHING for row in rows)
    ]
    shown = table(*(_heading(answer.columns[place]) for place in told))
    for number, row in enumerate(rows):
        is_total = number == len(answer.rows)
        shown.add_row(*(row[place] for place in told), style="bold" if is_total else None)
    # A number that is cut off is a wrong one: the lines may be longer than the screen.
    page.width = max(
        page.width, page.measure(shown, options=page.options.update(max_width=MOST_WIDTH)).maximum
    )
    page.print(shown)
    cut = f"; cut off after {len(answer.rows):,} rows, see --limit" if answer.more else ""
    page.print(f"as of position {answer.as_of:,}{cut}", style="dim")
    if answer.archived:
        page.print(
            f"Not counted: requests of this period that were archived, in {', '.join(answer.archived)}",
            style="yellow",
            soft_wrap=True,
        )


def show_trace(found: "Traced") -> None:
    """Print events, one a line."""
    page = console()
    shown = table(">position", "time (UTC)", "event", "stream")
    for one in found.events:
        where = f"{one['stream']}@{one['version']}"
        shown.add_row(str(one["position"]), moment(one["at_us"]), one["name"], where)
    page.print(shown)
    page.print(
        f"{len(found.events):,} of {found.count:,} events, as of position {found.as_of:,}", style="dim"
    )


def _heading(column: "ReportColumn") -> str:
    from apikeyrouter.application.reporting.questions import Unit

    words = column.name.removesuffix("_us").replace("_", " ")
    return words if column.unit in {Unit.Text, Unit.Instant} else f">{words}"


def _totals(answer: "ReportAnswer") -> list[str]:
    groups = [column for column in answer.columns if column.groups]
    counted = [column for column in answer.columns if not column.groups]
    sums = [_cell(column, value, answer) for column, value in zip(counted, answer.total or (), strict=True)]
    return ["all", *[""] * (len(groups) - 1), *sums] if groups else sums


def _cells(answer: "ReportAnswer", row: Sequence[Any]) -> list[str]:
    return [_cell(column, value, answer) for column, value in zip(answer.columns, row, strict=True)]


def _cell(column: "ReportColumn", value: Any, answer: "ReportAnswer") -> str:
    from apikeyrouter.application.reporting.questions import Unit

    if value is None:
        return "-"
    match column.unit:
        case Unit.NanoUsd:
            return usd(value)
        case Unit.Duration:
            return milliseconds(value)
        case Unit.Instant:
            return _local(value, answer.question.zone)
        case Unit.Share:
            return f"{value:.4f}"
    return _short(str(value)) if column.unit is Unit.Text else f"{value:,}"


def _short(text: str) -> str:
    return text if len(text) <= MOST_CHARS else f"{text[: MOST_CHARS - 1]}…"


def _local(at_us: int, zone: str) -> str:
    from apikeyrouter.domain import windows

    return (
        windows.moment(at_us).astimezone(windows.zone_named(zone)).isoformat(sep=" ", timespec="milliseconds")
    )

"""The options that all reports share, and what they ask."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apikeyrouter.limits import MOST_REPORT_ROWS

if TYPE_CHECKING:
    from apikeyrouter.application.reporting.questions import ReportAnswer, ReportQuestion
    from apikeyrouter.interfaces.report_desk import ReportDesk

By = Annotated[list[str] | None, typer.Option("--by", metavar="COLUMN,...", help="Group by these columns.")]
Conditions = Annotated[
    list[str] | None,
    typer.Option("--where", metavar="COLUMN=VALUE", help="Only these; may be repeated. COLUMN= is for none."),
]
Begin = Annotated[
    str | None,
    typer.Option("--from", metavar="WHEN", help="From this month, day or instant on: 2026-03, ..."),
]
End = Annotated[
    str | None,
    typer.Option("--to", metavar="WHEN", help="Until the end of this month or day, or an instant."),
]
Last = Annotated[
    str | None, typer.Option("--last", metavar="LENGTH", help="The last 90m, 24h, 30d or 4w instead.")
]
Zone = Annotated[
    str, typer.Option("--tz", metavar="ZONE", help="Whose days these are, such as Europe/Berlin.")
]
Limit = Annotated[int, typer.Option("--limit", min=1, max=MOST_REPORT_ROWS, help="At most so many rows.")]
After = Annotated[int, typer.Option("--after", min=0, help="Only events behind this position.")]
Form = Annotated[
    str | None,
    typer.Option(
        "--format", metavar="FORMAT", help="table (default), json, jsonl, csv, or parquet (an extra)."
    ),
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Write into this file.")]
Reports = Annotated[
    Path | None,
    typer.Option(
        "--reports",
        metavar="PATH",
        help="The file of the read models. Default: the log's name with .reports.db.",
    ),
]


def asked(
    report: str,
    by: list[str] | None,
    where: list[str] | None,
    when: tuple[str | None, str | None, str | None],
    zone: str,
    limit: int,
) -> "ReportQuestion":
    """Make a question of a command's options."""
    from apikeyrouter.application.reporting.periods import parse_period
    from apikeyrouter.application.reporting.questions import ReportQuestion, parse_columns, parse_filters

    begin, end, last = when
    return ReportQuestion(
        report=report,
        by=parse_columns(by or ()),
        where=parse_filters(where or ()),
        period=parse_period(begin=begin, end=end, last=last, zone=zone, now_us=time.time_ns() // 1000),
        zone=zone,
        limit=limit,
    )


def report_desk(database: str | None, reports: Path | None) -> "ReportDesk":
    """Return where reports of a log are asked for."""
    from apikeyrouter.adapters.reports.files import reports_file
    from apikeyrouter.interfaces.cli.log_access import log_file, open_reader
    from apikeyrouter.interfaces.cli.options import settings_from
    from apikeyrouter.interfaces.report_desk import ReportDesk

    reader = open_reader(database)
    return ReportDesk(reader, reports or reports_file(log_file(settings_from(database_url=database))))


def answered(question: "ReportQuestion", database: str | None, reports: Path | None) -> "ReportAnswer":
    """Answer a question from the read models, or from the fold where a report is made of that."""
    from apikeyrouter.application.reporting.forecasts import FORECAST, forecast_scores
    from apikeyrouter.interfaces.cli.log_access import folded, open_reader

    if question.report == FORECAST:
        return forecast_scores(folded(open_reader(database)), question)
    return report_desk(database, reports).ask(question)

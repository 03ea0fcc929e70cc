"""Answers as people and programs read them: decimal dollars, instants in the report's zone."""

from collections.abc import Iterator, Sequence
from datetime import tzinfo
from typing import Any

from apikeyrouter.application.reporting.questions import ReportAnswer, ReportColumn, Unit
from apikeyrouter.domain.windows import moment, zone_named

NANO = 1_000_000_000
DECIMALS = 9
Shown = str | int | float | None


def names(answer: ReportAnswer) -> list[str]:
    """Return the names of the columns; money says that it is in dollars."""
    return [f"{one.name}_usd" if one.unit is Unit.NanoUsd else one.name for one in answer.columns]


def rows(answer: ReportAnswer) -> Iterator[list[Shown]]:
    """Yield the rows with every value as it is shown."""
    zone = zone_named(answer.question.zone)
    for row in answer.rows:
        yield _shown(answer.columns, row, zone)


def total(answer: ReportAnswer) -> dict[str, Shown] | None:
    """Return what all rows come to, by the names of what is counted."""
    if answer.total is None:
        return None
    counted = [column for column in answer.columns if not column.groups]
    told = [name for name, column in zip(names(answer), answer.columns, strict=True) if not column.groups]
    return dict(zip(told, _shown(counted, answer.total, zone_named(answer.question.zone)), strict=True))


def document(answer: ReportAnswer) -> dict[str, Any]:
    """Return an answer as one JSON document, with what was asked and the position that it stands at."""
    question, zone = answer.question, zone_named(answer.question.zone)
    columns = names(answer)
    bounds = (question.period.begin_us, question.period.end_us)
    begin, end = (None if at_us is None else _moment(at_us, zone) for at_us in bounds)
    return {
        "report": question.report,
        "about": answer.about,
        "from": begin,
        "until": end,
        "time_zone": question.zone,
        "by": list(answer.by),
        "where": {one.name: list(one.values) for one in question.where},
        "as_of": answer.as_of,
        "rows": [dict(zip(columns, row, strict=True)) for row in rows(answer)],
        "total": total(answer),
        "more": answer.more,
        "archived_in": list(answer.archived),
    }


def usd(nano_usd: int) -> str:
    """Write an amount in dollars, exactly."""
    whole, rest = divmod(abs(nano_usd), NANO)
    text = f"{whole}.{rest:0{DECIMALS}d}".rstrip("0").rstrip(".")
    return f"-{text}" if nano_usd < 0 else text


def _shown(columns: Sequence[ReportColumn], row: Sequence[Any], zone: tzinfo) -> list[Shown]:
    return [_value(column.unit, value, zone) for column, value in zip(columns, row, strict=True)]


def _value(unit: Unit, value: Any, zone: tzinfo) -> Shown:
    if value is None:
        return None
    match unit:
        case Unit.NanoUsd:
            return usd(value)
        case Unit.Instant:
            return _moment(value, zone)
    shown: Shown = value
    return shown


def _moment(at_us: int, zone: tzinfo) -> str:
    return moment(at_us).astimezone(zone).isoformat().replace("+00:00", "Z")

"""What is asked of a report, and what it answers."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import msgspec

from apikeyrouter.application.reporting.periods import Period
from apikeyrouter.domain.models.system_error import InvalidRequestError


class Unit(StrEnum):
    """What a column holds, so that it can be shown as people and programs expect it."""

    Text = "text"
    Count = "count"
    Position = "position"
    Amount = "amount"
    NanoUsd = "nano_usd"
    Instant = "instant"
    Duration = "duration_us"
    Share = "share"


class Filter(msgspec.Struct, frozen=True):
    """A column, and the values of it that count; an empty text stands for none."""

    name: str
    values: tuple[str, ...]


class ReportQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A report, grouped by some columns and filtered by others; `by` None takes the report's usual ones."""

    report: str
    by: tuple[str, ...] | None = None
    where: tuple[Filter, ...] = ()
    period: Period = Period()
    zone: str = "UTC"
    limit: int = 1000


class ReportColumn(msgspec.Struct, frozen=True):
    """A column of an answer. Grouping columns come first, what was counted follows."""

    name: str
    unit: Unit
    groups: bool = False


class ReportAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Rows with the values that the tables hold: integers of nano-USD and microseconds.

    `archived` names the segments that hold requests of the period: these are not counted.
    `as_of` is the position of the last event that is counted, `total` the sums over all rows, those beyond
    the limit included; a request that stands in several rows, by its tags say, is in the total once.
    """

    question: ReportQuestion
    about: str
    by: tuple[str, ...]
    columns: tuple[ReportColumn, ...]
    rows: tuple[tuple[Any, ...], ...]
    total: tuple[Any, ...] | None
    more: bool
    as_of: int
    archived: tuple[str, ...] = ()


class TraceAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The positions of the events behind a number, as many as were asked for, and how many there are."""

    positions: tuple[int, ...]
    count: int
    as_of: int


def parse_filters(told: Iterable[str]) -> tuple[Filter, ...]:
    """Read conditions written as `column=value`; several on one column mean any of the values."""
    values: dict[str, list[str]] = {}
    for one in told:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise InvalidRequestError(f"a condition is written column=value, not {one[:80]!r}", param="where")
        values.setdefault(name, []).append(value)
    return tuple(Filter(name, tuple(wanted)) for name, wanted in values.items())


def parse_columns(told: Iterable[str]) -> tuple[str, ...] | None:
    """Read names of columns, each given alone or several with commas between; None if there are none."""
    names = [name.strip() for one in told for name in one.split(",")]
    return tuple(dict.fromkeys(name for name in names if name)) or None

"""What a report is made of: a source of rows, columns to group and filter by, and what is counted."""

from typing import Literal

import msgspec

from apikeyrouter.application.reporting.questions import Unit

Bucket = Literal["hour", "day", "month"]
BUCKET_FORMATS: dict[Bucket, str] = {"hour": "%Y-%m-%d %H:00", "day": "%Y-%m-%d", "month": "%Y-%m"}
BUCKET_SECONDS: dict[Bucket, int] = {"hour": 3600, "day": 86_400, "month": 86_400}
"""Local hours and days are numbered since 1970; the days of a month come together afterwards."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Rows under the alias `s`: SQL after FROM, which rows count, and the instant that a period is about.

    `positions` tell, for each row, the events that it was made of; `positions_of_requests` says that a row is
    a whole request, whose events stand in several tables. `path` is the number of the row's path, if any.
    """

    rows: str
    at_us: str
    condition: str = ""
    path: str | None = None
    positions: tuple[str, ...] = ("s.position",)
    positions_of_requests: bool = False


class Dimension(msgspec.Struct, frozen=True, kw_only=True):
    """A column to group and filter by.

    `join` brings several values a row, and then `having` filters rows by them where they are not grouped by.
    """

    sql: str
    unit: Unit = Unit.Text
    join: str = ""
    having: str = ""
    of_path: bool = False
    bucket: Bucket | None = None


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """What is counted: an aggregate over rows, and how those of several groups come together."""

    sql: str
    together: Literal["sum", "min", "max"] = "sum"
    unit: Unit = Unit.Count


class Quantile(msgspec.Struct, frozen=True, kw_only=True):
    """The value that such a share of the rows does not pass; rows where it is null do not count."""

    value: str
    share: float


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """A share, as the quotient of sums of other measures."""

    of: str
    among: tuple[str, ...]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A report by its name. `by` is the usual grouping; `largest` is what the greatest come first by.

    Quantiles are of the rows that meet the condition `quantiles_of`.
    """

    name: str
    about: str
    source: Source
    dimensions: dict[str, Dimension]
    measures: dict[str, Measure]
    by: tuple[str, ...]
    largest: str | None = None
    quantiles: dict[str, Quantile] = {}
    quantiles_of: str = ""
    ratios: dict[str, Ratio] = {}


def values_of(report: Report) -> list[str]:
    """Return the values that the quantiles of a report are of, each once."""
    return list(dict.fromkeys(one.value for one in report.quantiles.values()))


def text(sql: str) -> Dimension:
    """Return a column of words."""
    return Dimension(sql=sql)


def instant(sql: str) -> Dimension:
    """Return a column of instants."""
    return Dimension(sql=sql, unit=Unit.Instant)


def position(sql: str = "s.position") -> Dimension:
    """Return a column of positions in the log."""
    return Dimension(sql=sql, unit=Unit.Position)


def count(sql: str = "count(*)") -> Measure:
    """Count rows."""
    return Measure(sql=sql)


def counted(condition: str) -> Measure:
    """Count the rows that meet a condition."""
    return Measure(sql=f"coalesce(sum({condition}), 0)")


def amount(column: str) -> Measure:
    """Add up a column; what nobody told adds nothing."""
    return Measure(sql=f"coalesce(sum({column}), 0)", unit=Unit.Amount)


def money(column: str) -> Measure:
    """Add up nano-USD."""
    return Measure(sql=f"coalesce(sum({column}), 0)", unit=Unit.NanoUsd)


PATHS = {
    "client": "client_id",
    "team": "team",
    "operation": "operation",
    "objective": "objective",
    "model": "model",
    "provider": "provider_id",
    "key": "key_id",
}
OF_PATH = {name: Dimension(sql=f"p.{column}", of_path=True) for name, column in PATHS.items()}


def buckets(at_us: str) -> dict[str, Dimension]:
    """Return the columns that sort instants into local hours, days and months."""
    return {
        "hour": Dimension(sql=at_us, bucket="hour"),
        "day": Dimension(sql=at_us, bucket="day"),
        "month": Dimension(sql=at_us, bucket="month"),
    }


def first_and_last(first: str, last: str) -> dict[str, Measure]:
    """Return the measures that tell between which positions the events of a row stand."""
    return {
        "first_position": Measure(sql=f"min({first})", together="min", unit=Unit.Position),
        "last_position": Measure(sql=f"max({last})", together="max", unit=Unit.Position),
    }


TAG = Dimension(
    sql="t.tag",
    join="LEFT JOIN request_tags t ON t.request_id = s.request_id",
    having="EXISTS (SELECT 1 FROM request_tags t WHERE t.request_id = s.request_id AND {condition})",
)

"""Values in conditions, written as answers show them: what a row says of itself picks the row's events."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import NamedTuple

from apikeyrouter.adapters.reports.definitions import BUCKET_FORMATS, BUCKET_SECONDS, Bucket, Dimension
from apikeyrouter.application.reporting.questions import Unit
from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.domain.pricing import NANO_PER_USD
from apikeyrouter.domain.windows import SECOND_US, epoch_us

_LONGEST_MONTH = timedelta(days=31)
_MOST = 2**63 - 1
_WRITTEN: dict[Bucket, str] = {"hour": "2026-03-31 13:00", "day": "2026-03-31", "month": "2026-03"}


class Condition(NamedTuple):
    """SQL that is true for the rows that are wanted, with the values of its parameters."""

    sql: str
    values: list[int | str]


def is_one_of(dimension: Dimension, expression: str, values: Sequence[str], zone: tzinfo) -> Condition:
    """Compare what a column holds with any of these values; an empty one stands for none.

    Raises `InvalidRequestError` for what cannot be a value of this column.
    """
    told = [value for value in values if value]
    found = [_is(dimension, expression, value, zone) for value in told]
    if len(told) < len(values):
        found.append(Condition(f"{expression} IS NULL", []))
    sql = " OR ".join(one.sql for one in found) or "0"
    return Condition(f"({sql})", [value for one in found for value in one.values])


def _is(dimension: Dimension, expression: str, value: str, zone: tzinfo) -> Condition:
    if dimension.bucket is not None:
        return Condition(f"{expression} BETWEEN ? AND ?", [*_numbers(dimension.bucket, value)])
    if dimension.unit is Unit.NanoUsd:
        return Condition(f"{expression} = ?", [_nano_usd(value)])
    if dimension.unit is Unit.Instant:
        return Condition(f"{expression} = ?", [_at_us(value, zone)])
    return Condition(f"CAST({expression} AS TEXT) = ?", [value])


def _numbers(bucket: Bucket, value: str) -> tuple[int, int]:
    """Return the first and the last number since 1970 of the hours or days that a name stands for."""
    try:
        begin = datetime.strptime(value, BUCKET_FORMATS[bucket]).replace(tzinfo=UTC)
        end = (begin + _LONGEST_MONTH).replace(day=1) - timedelta(days=1) if bucket == "month" else begin
    except (ValueError, OverflowError):
        raise _unreadable(value, f"{_WRITTEN[bucket]!r}") from None
    length_us = BUCKET_SECONDS[bucket] * SECOND_US
    return epoch_us(begin) // length_us, epoch_us(end) // length_us


def _nano_usd(value: str) -> int:
    try:
        amount = Decimal(value) * NANO_PER_USD
    except ArithmeticError:
        amount = Decimal("NaN")
    if not amount.is_finite() or abs(amount) > _MOST or amount != int(amount):
        raise _unreadable(value, "'12.5', in US dollars")
    return int(amount)


def _at_us(value: str, zone: tzinfo) -> int:
    try:
        at = datetime.fromisoformat(value)
        return epoch_us(at if at.tzinfo is not None else at.replace(tzinfo=zone))
    except (ValueError, OverflowError):
        raise _unreadable(value, "'2026-03-31T13:00:00Z'") from None


def _unreadable(value: str, written: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"{value[:40]!r} is no value of this column: write it as {written}", param="where"
    )

"""Read how long the provider wants to be left alone, in all the ways that providers write it."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from apikeyrouter.domain.failures import LONGEST_WAIT_US, SECOND_US

_AMOUNT = r"([0-9]{1,15}(?:\.[0-9]{1,15})?)"
_NUMBER = re.compile(_AMOUNT, re.ASCII)
_SIMPLE = re.compile(rf"{_AMOUNT}(ms|us|µs|ns|d|h|m|s)?", re.ASCII)
_COMPOUND = re.compile(
    rf"(?:{_AMOUNT}d)?(?:{_AMOUNT}h)?(?:{_AMOUNT}m(?!s))?(?:{_AMOUNT}s)?(?:{_AMOUNT}ms)?", re.ASCII
)
_UNIT_US = {
    "ns": 0.001,
    "us": 1,
    "µs": 1,
    "ms": 1e3,
    "s": 1e6,
    "m": 60e6,
    "h": 3600e6,
    "d": 86400e6,
    None: 1e6,
}
_COMPOUND_UNITS_US = (86400e6, 3600e6, 60e6, 1e6, 1e3)
_LONGEST_TEXT = 64
_IN_MILLISECONDS = ("retry-after-ms", "x-ms-retry-after-ms")
"""OpenAI's and Azure's own, each finer than the standard's seconds."""

_FIRST_EPOCH_S = 1e9
_FIRST_EPOCH_MS = 1e11
"""No wait is 30 years long, so a number as large is a moment since 1970, in seconds or milliseconds."""


def retry_after_us(headers: Mapping[str, str], now_s: Callable[[], float]) -> int | None:
    """Return what `Retry-After` and its relatives say, bounded; nonsense says nothing."""
    for name in _IN_MILLISECONDS:
        wait_us = _number(headers.get(name), 1e3)
        if wait_us is not None:
            return _bounded(wait_us)
    text = headers.get("retry-after")
    if text is None or len(text) > _LONGEST_TEXT:
        return None
    wait_us = _span_us(text)
    return _bounded(_until_timestamp_us(text, now_s) if wait_us is None else wait_us)


def duration_us(text: str | None) -> int | None:
    """Read a duration such as `6m0s`, `12ms` or `1.5` (seconds), bounded."""
    return None if text is None or len(text) > _LONGEST_TEXT else _bounded(_span_us(text))


def until_us(text: str, now_s: Callable[[], float], longest_us: int = LONGEST_WAIT_US) -> int | None:
    """Read when a limit is full again: a duration, seconds, an epoch time, RFC 3339 or an HTTP date."""
    if len(text) > _LONGEST_TEXT:
        return None
    wait_us = _span_us(text)
    if wait_us is None:
        wait_us = _until_timestamp_us(text, now_s)
    elif wait_us >= _FIRST_EPOCH_S * SECOND_US and text.strip()[-1].isdecimal():
        wait_us = (_epoch_s(wait_us / SECOND_US) - now_s()) * SECOND_US
    return _bounded(wait_us, longest_us)


def _span_us(text: str) -> float | None:
    """Read a duration of one unit or several; a bare number is one of seconds."""
    text = text.strip()
    simple = _SIMPLE.fullmatch(text)
    if simple:
        return float(simple[1]) * _UNIT_US[simple[2]]
    compound = _COMPOUND.fullmatch(text) if text else None
    if compound is None:
        return None
    amounts = zip(compound.groups(), _COMPOUND_UNITS_US, strict=True)
    return sum([float(amount) * unit_us for amount, unit_us in amounts if amount])


def _number(text: str | None, unit_us: float) -> float | None:
    if text is None or not _NUMBER.fullmatch(text.strip()):
        return None
    return float(text) * unit_us


def _epoch_s(number: float) -> float:
    return number / 1e3 if number >= _FIRST_EPOCH_MS else number


def _until_timestamp_us(text: str, now_s: Callable[[], float]) -> float | None:
    """Read RFC 3339, as Anthropic writes it; a moment without a zone is one of UTC."""
    try:
        at = datetime.fromisoformat(text.strip())
        at_s = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return _until_date_us(text, now_s)
    return (at_s - now_s()) * SECOND_US


def _until_date_us(text: str, now_s: Callable[[], float]) -> float | None:
    try:
        at_s = parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return (at_s - now_s()) * SECOND_US


def _bounded(wait_us: float | None, longest_us: int = LONGEST_WAIT_US) -> int | None:
    return None if wait_us is None else int(min(max(wait_us, 0), longest_us))

"""Read from an answer's headers how long the provider wants to be left alone."""

import re
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime

from apikeyrouter.domain.failures import LONGEST_WAIT_US, SECOND_US

_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?", re.ASCII)
_DURATION = re.compile(r"(?:[0-9]{1,15}(?:\.[0-9]{1,15})?(?:ms|us|µs|ns|d|h|m|s))+", re.ASCII)
_DURATION_PART = re.compile(r"([0-9.]+)(ms|us|µs|ns|d|h|m|s)", re.ASCII)
_UNIT_US = {"ns": 0.001, "us": 1, "µs": 1, "ms": 1e3, "s": 1e6, "m": 60e6, "h": 3600e6, "d": 86400e6}
_LONGEST_TEXT = 64
_DIMENSIONS = ("requests", "tokens")


def retry_after_us(headers: Mapping[str, str], now_s: Callable[[], float]) -> int | None:
    """Return what `Retry-After` and its relatives say, bounded; nonsense says nothing."""
    wait_us = _number(headers.get("retry-after-ms"), 1e3)
    if wait_us is None:
        wait_us = _seconds_or_date(headers.get("retry-after"), now_s)
    return wait_us


def rate_limit_reset_us(headers: Mapping[str, str]) -> int | None:
    """Return when the limits that are used up are full again; with none known to be, the nearest."""
    resets = {d: duration_us(headers.get(f"x-ratelimit-reset-{d}")) for d in _DIMENSIONS}
    known = {dimension: reset for dimension, reset in resets.items() if reset is not None}
    used_up = [
        known[dimension]
        for dimension in known
        if headers.get(f"x-ratelimit-remaining-{dimension}", "").strip() == "0"
    ]
    return max(used_up) if used_up else min(known.values(), default=None)


def duration_us(text: str | None) -> int | None:
    """Read a duration such as `6m0s`, `12ms` or `1.5` (seconds)."""
    if text is None or len(text) > _LONGEST_TEXT:
        return None
    if _DURATION.fullmatch(text.strip()):
        return _bounded(sum(_part_us(*part) for part in _DURATION_PART.findall(text)))
    return _number(text, 1e6)


def _part_us(amount: str, unit: str) -> float:
    return float(amount) * _UNIT_US[unit]


def _seconds_or_date(text: str | None, now_s: Callable[[], float]) -> int | None:
    if text is None or len(text) > _LONGEST_TEXT:
        return None
    wait_us = _number(text, 1e6)
    return _until_date_us(text, now_s) if wait_us is None else wait_us


def _number(text: str | None, unit_us: float) -> int | None:
    if text is None or not _NUMBER.fullmatch(text.strip()):
        return None
    return _bounded(float(text) * unit_us)


def _until_date_us(text: str, now_s: Callable[[], float]) -> int | None:
    try:
        at_s = parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return _bounded((at_s - now_s()) * SECOND_US)


def _bounded(wait_us: float) -> int:
    return int(min(max(wait_us, 0), LONGEST_WAIT_US))

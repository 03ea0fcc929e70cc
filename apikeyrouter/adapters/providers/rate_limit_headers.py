"""Read what an answer's headers say of the key's limits, in the names of OpenAI, Anthropic and the IETF."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from apikeyrouter.adapters.providers.retry_after import until_us
from apikeyrouter.domain.failures import SECOND_US
from apikeyrouter.domain.rate_limits import RateLimitReport

LONGEST_RESET_US = 31 * 24 * 3600 * SECOND_US
_LONGEST_DRAFT = 512

_LIMIT, _REMAINING, _RESET = 0, 1, 2


class _Field(NamedTuple):
    """Where the value of a header belongs."""

    dimension: str
    window_us: int | None
    part: int


_PARTS = {"limit": _LIMIT, "remaining": _REMAINING, "reset": _RESET}
_DIMENSIONS = {
    "requests": "requests",
    "req": "requests",  # Mistral
    "tokens": "tokens",
    "tokens-prompt": "input_tokens",  # Fireworks
    "tokens-generated": "output_tokens",  # Fireworks
}
_WINDOWS_US = {
    "": None,
    "-second": SECOND_US,
    "-minute": 60 * SECOND_US,  # Cerebras and Mistral name the window, as here and below
    "-hour": 3600 * SECOND_US,
    "-day": 24 * 3600 * SECOND_US,
}
_OF_ANTHROPIC = {
    "requests": "requests",
    "tokens": "tokens",
    "input-tokens": "input_tokens",
    "output-tokens": "output_tokens",
}
_UNSPECIFIC = ("x-ratelimit-", "ratelimit-")
"""OpenRouter and Together; the IETF draft before its seventh version."""

_FIELDS = {
    **{
        f"x-ratelimit-{part}-{name}{suffix}": _Field(dimension, window_us, slot)
        for part, slot in _PARTS.items()
        for name, dimension in _DIMENSIONS.items()
        for suffix, window_us in _WINDOWS_US.items()
    },
    **{
        f"anthropic-ratelimit-{name}-{part}": _Field(dimension, None, slot)
        for part, slot in _PARTS.items()
        for name, dimension in _OF_ANTHROPIC.items()
    },
    **{f"{p}{part}": _Field("requests", None, slot) for p in _UNSPECIFIC for part, slot in _PARTS.items()},
}
_DRAFT = "ratelimit"
_NAMES = frozenset({*_FIELDS, _DRAFT})

_COUNT = re.compile(r"\s*([0-9]{1,15})(?:\.[0-9]*)?\s*(?:[,;]|$)", re.ASCII)
_ITEM = re.compile(r'"([^"]{0,64})"((?:\s*;\s*[a-z]{1,8}=[^;,]{1,32})*)', re.ASCII)
_PARAMETER = re.compile(r'([a-z]{1,8})="?([^;,"]{1,32})', re.ASCII)
_SEVENTH = re.compile(r"\b(limit|remaining|reset)=([0-9]{1,15})", re.ASCII)


def rate_limit_reports(
    headers: Mapping[str, str], now_s: Callable[[], float] = time.time
) -> tuple[RateLimitReport, ...]:
    """Return what the headers tell, by dimension and window; names are in lower case."""
    if _NAMES.isdisjoint(headers):
        return ()
    told: dict[tuple[str, int | None], list[int | None]] = {}
    for name, text in headers.items():
        field = _FIELDS.get(name)
        if field is not None:
            dimension, window_us, part = field
            values = told.setdefault((dimension, window_us), [None, None, None])
            if values[part] is None:
                values[part] = until_us(text, now_s, LONGEST_RESET_US) if part == _RESET else _count(text)
    reports = [
        RateLimitReport(dimension, limit, remaining, reset, window_us)
        for (dimension, window_us), (limit, remaining, reset) in told.items()
        if limit is not None or remaining is not None or reset is not None
    ]
    if _DRAFT in headers:
        drafted = _of_the_draft(headers[_DRAFT], headers.get("ratelimit-policy", ""))
        reports += [report for report in drafted if _says_something(report)]
    return tuple(reports)


def _says_something(report: RateLimitReport) -> bool:
    told = (report.limit, report.remaining, report.reset_after_us, report.window_us)
    return any(value is not None for value in told)


def _count(text: str) -> int | None:
    """Read a whole number, the first of a list; a negative one is some provider's word for none."""
    if len(text) <= 15 and text.isascii() and text.isdecimal():
        return int(text)
    found = _COUNT.match(text)
    return int(found[1]) if found else None


def _of_the_draft(limits: str, policies: str) -> Iterator[RateLimitReport]:
    """Read `RateLimit: "default";r=0;t=30`, and from `RateLimit-Policy` what belongs to it."""
    if len(limits) > _LONGEST_DRAFT or len(policies) > _LONGEST_DRAFT:
        return
    seventh = dict(_SEVENTH.findall(limits))
    if seventh:
        yield _report("requests", seventh.get("limit"), seventh.get("remaining"), seventh.get("reset"), None)
        return
    known = dict(_items(policies))
    for name, has in _items(limits):
        policy = known.get(name, {})
        dimension = _dimension(name, policy.get("qu", "requests"))
        if dimension is not None:
            yield _report(dimension, policy.get("q"), has.get("r"), has.get("t"), policy.get("w"))


def _items(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    for name, parameters in _ITEM.findall(text):
        yield name, dict(_PARAMETER.findall(parameters))


def _dimension(name: str, unit: str) -> str | None:
    """Tell requests from tokens by unit or name; bytes and concurrency are no dimensions of ours."""
    if "token" in unit or "token" in name.lower():
        return "tokens"
    return "requests" if unit == "requests" else None


def _report(
    dimension: str, limit: str | None, remaining: str | None, reset_s: str | None, window_s: str | None
) -> RateLimitReport:
    return RateLimitReport(
        dimension,
        None if limit is None else _count(limit),
        None if remaining is None else _count(remaining),
        _seconds_us(reset_s),
        _seconds_us(window_s),
    )


def _seconds_us(text: str | None) -> int | None:
    seconds = None if text is None else _count(text)
    return None if seconds is None else min(seconds * SECOND_US, LONGEST_RESET_US)

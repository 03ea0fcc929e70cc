"""Periods as people name them, and as half-open intervals of microseconds since the epoch."""

import re
from datetime import datetime, tzinfo
from typing import Literal, NamedTuple

from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.domain.windows import DAY_US, HOUR_US, MINUTE_US, Window, bounds, epoch_us, zone_named

_LAST = re.compile(r"(\d{1,5})([mhdw])")
_MONTH = re.compile(r"\d{4}-\d{2}")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_UNIT_US = {"m": MINUTE_US, "h": HOUR_US, "d": DAY_US, "w": 7 * DAY_US}
_FORMS = (
    "write 2026-03, 2026-03-01 or 2026-03-01T12:00, with Z or an offset if it is not in the report's zone"
)


class Period(NamedTuple):
    """From the first instant that belongs to it to the first that does not; None: without that end."""

    begin_us: int | None = None
    end_us: int | None = None


def parse_period(*, begin: str | None, end: str | None, last: str | None, zone: str, now_us: int) -> Period:
    """Read a period: from `begin` until `end`, or the `last` so many minutes, hours, days or weeks until now.

    A month or a day stands for the whole of it: from its beginning, or until its end.
    """
    tz = zone_named(zone)
    if last is None:
        begin_us = None if begin is None else _stretch(begin, zone, tz, "from")[0]
        end_us = None if end is None else _stretch(end, zone, tz, "to")[1]
        if begin_us is not None and end_us is not None and begin_us >= end_us:
            raise InvalidRequestError("the period ends before it begins", param="to")
        return Period(begin_us, end_us)
    told = _LAST.fullmatch(last)
    if told is None or begin is not None or end is not None:
        raise InvalidRequestError(
            "last is a number with m, h, d or w, such as 30d, and stands in the place of from and to",
            param="last",
        )
    return Period(now_us - int(told[1]) * _UNIT_US[told[2]], now_us + 1)


def _stretch(text: str, zone: str, tz: tzinfo, param: str) -> tuple[int, int]:
    """Return the beginning and the end of what a text names; of an instant both are itself."""
    try:
        if _MONTH.fullmatch(text):
            return _calendar_stretch(f"{text}-01", "month", zone, tz)
        if _DAY.fullmatch(text):
            return _calendar_stretch(text, "day", zone, tz)
        instant = datetime.fromisoformat(text)
        at_us = epoch_us(instant if instant.tzinfo is not None else instant.replace(tzinfo=tz))
    except (ValueError, OverflowError):
        raise InvalidRequestError(f"{text[:40]!r} is no date: {_FORMS}", param=param) from None
    return at_us, at_us


def _calendar_stretch(day: str, unit: Literal["day", "month"], zone: str, tz: tzinfo) -> tuple[int, int]:
    noon = datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=tz)
    return bounds(Window("fixed", unit, zone), epoch_us(noon))

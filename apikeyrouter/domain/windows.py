"""The windows that amounts are counted in; where fixed ones begin and end in a provider's time zone."""

import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from importlib.resources import files
from typing import Final, Literal
from zoneinfo import ZoneInfo

import msgspec

from apikeyrouter.domain.models.system_error import InvalidRequestError

Kind = Literal["fixed", "rolling", "bucket"]
Unit = Literal["second", "minute", "hour", "day", "week", "month", "total", "custom"]

SECOND_US: Final = 1_000_000
MINUTE_US: Final = 60 * SECOND_US
HOUR_US: Final = 60 * MINUTE_US
DAY_US: Final = 24 * HOUR_US
LENGTH_US: Final[dict[Unit, int]] = {
    "second": SECOND_US,
    "minute": MINUTE_US,
    "hour": HOUR_US,
    "day": DAY_US,
    "week": 7 * DAY_US,
    "month": 30 * DAY_US,
    "total": 1 << 62,
}
FOR_EVER: Final = (0, 1 << 62)
"""The one window that is never over."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}")
_OF_THE_MACHINE = frozenset({"localtime", "posixrules", "posix", "right", "Factory"})
"""What some machines keep beside the zones: their own zone, and variants that count leap seconds."""


class Window(msgspec.Struct, frozen=True):
    """A stretch of time with a limit: fixed ones follow the clock on the wall, rolling ones the present.

    A bucket holds a limit's worth and fills up evenly, a full one within the length of the window. A custom
    window is `seconds` long; fixed ones of these begin when local clocks show a multiple of that since 1970.
    """

    kind: Kind
    unit: Unit
    zone: str = "UTC"
    seconds: int = 0

    @property
    def length_us(self) -> int:
        """Return the length of a rolling window, the usual one of a fixed, the time that fills a bucket."""
        return self.seconds * SECOND_US if self.unit == "custom" else LENGTH_US[self.unit]


def moment(at_us: int) -> datetime:
    """Return an instant for people, in UTC."""
    return _EPOCH + timedelta(microseconds=at_us)


def epoch_us(at: datetime) -> int:
    """Return an instant in microseconds since the epoch; it must have an offset."""
    return (at - _EPOCH) // _MICROSECOND


def ahead_us(zone: tzinfo, at_us: int) -> int:
    """Return how far the clocks of a zone are ahead of UTC."""
    return (_local(zone, at_us).utcoffset() or timedelta()) // _MICROSECOND


def change_us(zone: tzinfo, before_us: int, after_us: int) -> int:
    """Return the instant between two at which the offset of a zone changes to that of the second."""
    offset_us = ahead_us(zone, after_us)
    while after_us - before_us > 1:
        middle_us = (before_us + after_us) // 2
        if ahead_us(zone, middle_us) == offset_us:
            after_us = middle_us
        else:
            before_us = middle_us
    return after_us


def instant(at_us: int) -> str:
    """Write an instant for people, to the second, in UTC."""
    return f"{moment(at_us):%Y-%m-%d %H:%M:%S} UTC"


def bounds(window: Window, at_us: int) -> tuple[int, int]:
    """Return start and end of the fixed window that an instant lies in; the end belongs to the next one."""
    if window.unit == "total":
        return FOR_EVER
    zone = zone_named(window.zone)
    if window.unit in {"day", "week", "month"}:
        return _calendar_bounds(zone, window.unit, at_us)
    if HOUR_US % window.length_us:
        return _wall_bounds(zone, window.length_us, at_us)
    return _clock_bounds(zone, window.length_us, at_us)


@lru_cache(maxsize=1024)
def zone_named(name: str) -> tzinfo:
    """Return the time zone of that name, or raise `InvalidRequestError`.

    The package `tzdata` is asked and never the machine, whose zones may be of another year.
    """
    if name == "UTC":
        return UTC
    try:
        if _NAME.fullmatch(name) and name.partition("/")[0] not in _OF_THE_MACHINE:
            with files("tzdata.zoneinfo").joinpath(*name.split("/")).open("rb") as zone:
                return ZoneInfo.from_file(zone, key=name)
    except (KeyError, OSError, ValueError):
        pass
    raise InvalidRequestError("unknown time zone: name it as the IANA database does, such as Europe/Berlin")


def _clock_bounds(zone: tzinfo, unit_us: int, at_us: int) -> tuple[int, int]:
    start_us = at_us - (at_us + ahead_us(zone, at_us)) % unit_us
    end_us = start_us + unit_us
    # Lord Howe Island moves its clock by half an hour: the hour that is cut in two is two windows.
    if _out_of_step(zone, start_us, at_us, unit_us):
        start_us = change_us(zone, start_us, at_us)
    if _out_of_step(zone, at_us, end_us - 1, unit_us):
        end_us = change_us(zone, at_us, end_us - 1)
    return start_us, end_us


def _calendar_bounds(zone: tzinfo, unit: Unit, at_us: int) -> tuple[int, int]:
    first = _local(zone, at_us).date()
    if unit == "week":
        first -= timedelta(days=first.weekday())
    if unit == "month":
        first = first.replace(day=1)
    after = _next(first, unit)
    start_us, end_us = _midnight_us(zone, first), _midnight_us(zone, after)
    if at_us >= end_us:  # the clock was put back past a midnight that it had struck already
        return end_us, _midnight_us(zone, _next(after, unit))
    return start_us, end_us


def _wall_bounds(zone: tzinfo, length_us: int, at_us: int) -> tuple[int, int]:
    """Bound a window by what clocks show, so that a change of theirs makes it longer or shorter, as a day."""
    shown_us = at_us + ahead_us(zone, at_us)
    shown_us -= shown_us % length_us
    start_us, end_us = _first_us(zone, moment(shown_us)), _first_us(zone, moment(shown_us + length_us))
    while at_us >= end_us:  # the clock was put back past an end that it had shown already
        shown_us += length_us
        start_us, end_us = end_us, _first_us(zone, moment(shown_us + length_us))
    return start_us, end_us


def _next(first: date, unit: Unit) -> date:
    if unit != "month":
        return first + timedelta(days=7 if unit == "week" else 1)
    return (first + timedelta(days=31)).replace(day=1)


def _midnight_us(zone: tzinfo, day: date) -> int:
    return _first_us(zone, datetime(day.year, day.month, day.day, tzinfo=UTC))


def _first_us(zone: tzinfo, shown: datetime) -> int:
    """Return the first instant at which clocks show a time; where it was skipped, the instant of the skip."""
    local = shown.replace(tzinfo=zone)
    first_us = epoch_us(local)
    if _local(zone, first_us).replace(tzinfo=None) == shown.replace(tzinfo=None):
        return first_us
    return change_us(zone, epoch_us(local.replace(fold=1)), first_us)


def _out_of_step(zone: tzinfo, first_us: int, last_us: int, unit_us: int) -> bool:
    return (ahead_us(zone, first_us) - ahead_us(zone, last_us)) % unit_us != 0


def _local(zone: tzinfo, at_us: int) -> datetime:
    return moment(at_us).astimezone(zone)

"""How far local clocks were ahead of UTC, over a period: what sorts instants into local days."""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

from apikeyrouter.domain.windows import DAY_US

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
MOST_DAYS = 40_000


class Offset(NamedTuple):
    """Until an instant, local clocks are so much ahead of UTC; the last has no end."""

    until_us: int | None
    ahead_us: int


def offsets(zone: tzinfo, begin_us: int, end_us: int) -> list[Offset]:
    """Return the offsets of a zone from the beginning of a period to its end, each until the next."""
    found: list[Offset] = []
    ahead_us, at_us = _ahead_us(zone, begin_us), begin_us
    end_us = min(end_us, begin_us + MOST_DAYS * DAY_US)
    while at_us < end_us:
        next_us = min(at_us + DAY_US, end_us)
        changed_us = _ahead_us(zone, next_us)
        if changed_us != ahead_us:
            found.append(Offset(_change_us(zone, at_us, next_us), ahead_us))
            ahead_us = changed_us
        at_us = next_us
    return [*found, Offset(None, ahead_us)]


def _change_us(zone: tzinfo, before_us: int, after_us: int) -> int:
    """Return the first instant at which the later offset is in force; the earlier one was at `before_us`."""
    ahead_us = _ahead_us(zone, before_us)
    while after_us - before_us > 1:
        middle_us = (before_us + after_us) // 2
        if _ahead_us(zone, middle_us) == ahead_us:
            before_us = middle_us
        else:
            after_us = middle_us
    return after_us


def _ahead_us(zone: tzinfo, at_us: int) -> int:
    offset = (_EPOCH + timedelta(microseconds=at_us)).astimezone(zone).utcoffset()
    return 0 if offset is None else offset // _MICROSECOND

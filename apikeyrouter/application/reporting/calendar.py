"""How far local clocks were ahead of UTC, over a period: what sorts instants into local days."""

from datetime import tzinfo
from typing import NamedTuple

from apikeyrouter.domain.windows import DAY_US, ahead_us, change_us

MOST_DAYS = 40_000


class Offset(NamedTuple):
    """Until an instant, local clocks are so much ahead of UTC; the last has no end."""

    until_us: int | None
    ahead_us: int


def offsets(zone: tzinfo, begin_us: int, end_us: int) -> list[Offset]:
    """Return the offsets of a zone from the beginning of a period to its end, each until the next."""
    found: list[Offset] = []
    known_us, at_us = ahead_us(zone, begin_us), begin_us
    end_us = min(end_us, begin_us + MOST_DAYS * DAY_US)
    while at_us < end_us:
        next_us = min(at_us + DAY_US, end_us)
        changed_us = ahead_us(zone, next_us)
        if changed_us != known_us:
            found.append(Offset(change_us(zone, at_us, next_us), known_us))
            known_us = changed_us
        at_us = next_us
    return [*found, Offset(None, known_us)]

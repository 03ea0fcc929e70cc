"""Retention: how long requests are kept, and which positions have left the log since."""

import base64
import re
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec

from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.domain.positions import Positions, Run, runs_of
from apikeyrouter.domain.vocabulary.retention import (
    RetentionSet,
    SegmentDropped,
    SegmentRemoved,
    StateRefolded,
)
from apikeyrouter.domain.vocabulary.shape import Event, EventRef
from apikeyrouter.domain.windows import DAY_US, SECOND_US

if TYPE_CHECKING:
    from apikeyrouter.domain.state import RouterState

Told = RetentionSet | SegmentDropped | SegmentRemoved | StateRefolded
"""What the log says of its own retention."""

LEAST_KEEP_US = DAY_US
MOST_KEEP_US = 36_525 * DAY_US
SIX_MONTHS_US = 184 * DAY_US
"""The longest that six months in a row can be."""

SHORTER_THAN_SIX_MONTHS = (
    "shorter than six months, the least that Articles 19 and 26(6) of the EU AI Act ask of the logs of"
    " high-risk systems"
)
BIRTH_SLACK_US = 5 * SECOND_US
"""An id is made some time before the first event that bears it, and by a clock of its own."""

STATEMENT = "apikeyrouter drop v1"

_UUID7 = re.compile(r"([0-9a-f]{12})7[0-9a-f]{3}[89ab][0-9a-f]{15}")


class Segment(msgspec.Struct, frozen=True):
    """What was dropped together, as the event tells it that stands at `ref`."""

    told: SegmentDropped
    ref: EventRef

    @property
    def name(self) -> str:
        """The name of the archive's file."""
        return self.told.segment

    def runs(self) -> Iterator[Run]:
        """Yield the dropped positions as ranges."""
        return runs_of(self.told.first, self.told.runs)

    def positions(self) -> Positions:
        """Return the dropped positions."""
        return Positions(self.runs())


class Refold(msgspec.Struct, frozen=True):
    """Behind the event at `behind`, a node began with a fold that left out the first so many segments."""

    behind: int
    segments: int


class Retention:
    """The policy in force, and every segment that has left the log. `removing` names those still at it."""

    def __init__(self) -> None:
        self.keep_us: int | None = None
        self.segments: list[Segment] = []
        self.dropped = Positions()
        self.removing: dict[str, Segment] = {}
        self.refolds: list[Refold] = []

    @property
    def base(self) -> int:
        """The last position that was dropped, 0 if none was."""
        runs = self.dropped.runs()
        return runs[-1][1] if runs else 0

    def segment_at(self, position: int) -> Segment | None:
        """Return the segment that holds what stood at a position; None if it was not dropped."""
        if position not in self.dropped:
            return None
        return next((one for one in self.segments if position in one.positions()), None)

    def between(self, after: int, until: int | None) -> list[Segment]:
        """Return the segments with positions in `after < position <= until`."""
        return [
            one
            for one in self.segments
            if one.told.last > after and (until is None or one.positions().within(after + 1, until))
        ]

    def refold_before(self, position: int | None) -> Refold | None:
        """Return the last refold that the state at a position comes from; None: it comes from all events."""
        for refold in reversed(self.refolds):
            if position is None or refold.behind < position:
                return refold
        return None

    def left_out_of(self, refold: Refold | None) -> list[Segment]:
        """Return the segments that a refold did without."""
        return [] if refold is None else self.segments[: refold.segments]

    def stretches(self, first: int, last: int) -> list[Run]:
        """Cut a range behind every refold: within each part, one state grows from event to event."""
        ends = [refold.behind for refold in self.refolds if first <= refold.behind < last]
        return [*zip([first, *(end + 1 for end in ends)], [*ends, last], strict=True)]

    def is_whole(self, after: int, until: int) -> bool:
        """Tell whether what the log has in `after < position <= until` is all that states there come from."""
        began_anew = after > 0 and any(after <= refold.behind < until for refold in self.refolds)
        if self.removing or began_anew:
            return False
        left_out = self.left_out_of(self.refold_before(until))
        return all(one in left_out for one in self.between(after, until))

    def within(self, since_us: int | None, until_us: int | None) -> list[Segment]:
        """Return the segments that hold events from `since_us <= time < until_us`, or may."""
        return [
            one
            for one in self.segments
            if (until_us is None or one.told.from_us < until_us)
            and (since_us is None or since_us <= one.told.to_us)
        ]

    def perhaps_with(self, request_id: str) -> list[Segment]:
        """Return the segments that a request which is not in the log may be in, by when its id was made."""
        made_us = born_us(request_id)
        return [] if made_us is None else self.within(made_us - BIRTH_SLACK_US, made_us + BIRTH_SLACK_US)

    def take(self, event: Told, ref: EventRef) -> None:
        """Take in what happened."""
        match event:
            case RetentionSet():
                self.keep_us = event.keep_us
            case SegmentDropped():
                segment = Segment(event, ref)
                self.segments.append(segment)
                self.removing[event.segment] = segment
                self.dropped = Positions([*self.dropped.runs(), *segment.runs()])
            case SegmentRemoved():
                self.removing.pop(event.segment, None)
            case StateRefolded():
                self.refolds.append(Refold(event.behind, len(self.segments)))


def set_retention(keep_us: int | None, *, at_us: int, actor: str) -> RetentionSet:
    """Decide how long requests are kept; None: for ever."""
    if keep_us is not None and not LEAST_KEEP_US <= keep_us <= MOST_KEEP_US:
        raise InvalidRequestError("requests are kept for a day at least, and a century at most", param="keep")
    return RetentionSet(at_us=at_us, actor=actor, keep_us=keep_us)


def warning_about(keep_us: int | None) -> str | None:
    """Say what whoever keeps requests for a short time should know."""
    return SHORTER_THAN_SIX_MONTHS if keep_us is not None and keep_us < SIX_MONTHS_US else None


def statement_of(origin: str, told: SegmentDropped) -> str:
    """Return what the log of that origin signs when it drops a segment: all that the event says."""
    unsigned = msgspec.structs.replace(told, signature="")
    digest = sha256(msgspec.json.encode(unsigned, order="deterministic")).digest()
    return f"{STATEMENT}\n{origin}\n{told.segment}\n{base64.b64encode(digest).decode()}\n"


def is_sound(told: SegmentDropped) -> bool:
    """Tell whether what an event says of positions can be true."""
    counts = told.runs
    whole = bool(counts) and len(counts) % 2 == 1 and min(counts) > 0
    return whole and told.first > 1 and told.first + sum(counts) - 1 == told.last


def born_us(request_id: str) -> int | None:
    """Return when an id was made, in whole milliseconds, as UUIDs of version 7 tell; None for others."""
    made = _UUID7.fullmatch(request_id)
    return None if made is None else int(made[1], 16) * 1000


def _taken(state: "RouterState", stream: str, version: int, event: Told) -> None:
    state.retention.take(event, EventRef(stream, version))


RETENTION_FOLDS: dict[type[Event], Callable[["RouterState", str, int, Any], None]] = {
    RetentionSet: _taken,
    SegmentDropped: _taken,
    SegmentRemoved: _taken,
    StateRefolded: _taken,
}

"""What evidence can be about: a request with all that its decisions refer to, positions, a segment."""

from collections.abc import Iterator, Sequence

import msgspec

from apikeyrouter.application.audit import trail
from apikeyrouter.application.ports import EventFinder
from apikeyrouter.application.retention.gaps import refuse_gap_within
from apikeyrouter.domain.models.system_error import InvalidRequestError, NotFoundError

REQUEST = "request"
POSITIONS = "positions"
SEGMENT = "segment"


class Subject(msgspec.Struct, frozen=True):
    """What a bundle is about, in words that its verifier knows, and the positions that belong to it."""

    kind: str
    name: str
    positions: tuple[int, ...]

    def runs(self) -> Iterator[tuple[int, int]]:
        """Yield the positions as ranges, both ends included."""
        first = last = self.positions[0]
        for position in self.positions[1:]:
            if position != last + 1:
                yield first, last
                first = position
            last = position
        yield first, last


def of_request(reader: EventFinder, request_id: str) -> Subject:
    """Collect a request's own events, their evidence and their consequences."""
    told = trail(reader, request_id)
    recorded = (*told.events, *told.consequences, *told.evidence)
    return Subject(REQUEST, told.request_id, tuple(sorted({one.position for one in recorded})))


def of_segment(positions: Sequence[int]) -> Subject:
    """Take whole requests, which leave the log together; the positions are in order."""
    return Subject(SEGMENT, f"{positions[0]}-{positions[-1]}", tuple(positions))


def of_positions(first: int, last: int) -> Subject:
    """Take every event from a position to another."""
    if not 1 <= first <= last:
        raise InvalidRequestError(f"{first} to {last} is no range of positions", param="first")
    return Subject(POSITIONS, f"{first}-{last}", tuple(range(first, last + 1)))


def of_period(reader: EventFinder, since_us: int, until_us: int) -> Subject:
    """Take every event from the first to the last that was decided within `since_us <= time < until_us`."""
    within = [one.position for one in reader.read() if since_us <= one.event.at_us < until_us]
    refuse_gap_within(reader, since_us, until_us)
    if not within:
        raise NotFoundError("no event was recorded in that period")
    return of_positions(within[0], within[-1])

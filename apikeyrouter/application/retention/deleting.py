"""Delete the rows of a segment, once a checkpoint covers the event that records it."""

import asyncio
import time
from collections.abc import Iterator

from apikeyrouter.application.journal import Journal
from apikeyrouter.application.ports import Clock
from apikeyrouter.application.retention.ports import Shelf
from apikeyrouter.domain.events import RETENTION_STREAM, SegmentRemoved
from apikeyrouter.domain.models.system_error import ConflictError
from apikeyrouter.domain.positions import Positions, Run
from apikeyrouter.domain.retention import Segment
from apikeyrouter.limits import MOST_DROPPED_ROWS

BETWEEN_DELETIONS_S = 0.005
SEAL_PATIENCE_S = 60.0
POLL_S = 0.1
WIPE_ATTEMPTS = 100


class Deletion:
    """Takes rows out of one log, in small transactions between those of requests."""

    def __init__(self, journal: Journal, clock: Clock, shelf: Shelf) -> None:
        self._journal = journal
        self._clock = clock
        self._shelf = shelf

    async def until_sealed(self, segment: Segment) -> None:
        """Wait until a checkpoint covers the event, so that no crash leaves an unproven gap."""
        position = await asyncio.to_thread(self._position_of, segment)
        deadline = time.monotonic() + SEAL_PATIENCE_S
        while position is None or await asyncio.to_thread(self._sealed) < position:
            if time.monotonic() > deadline:
                raise ConflictError("the log is not sealed: its rows are deleted with the next start that is")
            await asyncio.sleep(POLL_S)
            position = position or await asyncio.to_thread(self._position_of, segment)

    def _sealed(self) -> int:
        return self._shelf.sealed

    def _position_of(self, segment: Segment) -> int | None:
        stream = self._journal.log.stream(RETENTION_STREAM)
        return next((one.position for one in stream if one.version == segment.ref.version), None)

    async def delete(self, segment: Segment) -> None:
        """Delete the rows of a segment, wipe what they left, and say that this is done."""
        for runs in in_portions(segment.positions(), MOST_DROPPED_ROWS):
            await self._shelf.remove(runs)
            await asyncio.sleep(BETWEEN_DELETIONS_S)
        await self._wipe()
        removed = SegmentRemoved(at_us=self._clock.now_us(), segment=segment.name)
        await self._journal.settled(self._journal.record_next(RETENTION_STREAM, removed))

    async def _wipe(self) -> None:
        for _ in range(WIPE_ATTEMPTS):
            if await self._shelf.wipe():
                return
            await asyncio.sleep(POLL_S)
        raise ConflictError("the log is read all the time: what is left beside it goes with the next start")


def in_portions(positions: Positions, most: int) -> Iterator[list[Run]]:
    """Yield ranges that hold so many positions together at most."""
    portion: list[Run] = []
    room = most
    for first, last in positions.runs():
        at = first
        while at <= last:
            end = min(last, at + room - 1)
            portion.append((at, end))
            room -= end - at + 1
            at = end + 1
            if room == 0:
                yield portion
                portion, room = [], most
    if portion:
        yield portion

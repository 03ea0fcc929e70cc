"""What administrators decide on retention and holds; each is an event, durable before it is answered."""

import asyncio

import msgspec

from apikeyrouter.application.journal import Journal
from apikeyrouter.application.ports import Clock, Entropy
from apikeyrouter.application.retention.dropping import Dropping
from apikeyrouter.domain import holds
from apikeyrouter.domain.events import RETENTION_STREAM, Event, request_stream
from apikeyrouter.domain.holds import Hold, HoldAsked, HoldScope
from apikeyrouter.domain.models.system_error import ConflictError, NotFoundError
from apikeyrouter.domain.retention import Segment, set_retention


class Placed(msgspec.Struct, frozen=True):
    """A hold, and the segments that may hold what it covers but left the log before it."""

    hold: Hold
    left_before: tuple[Segment, ...]


class Retaining:
    """Set the retention, place and release holds, and let go what may go."""

    def __init__(self, *, journal: Journal, clock: Clock, entropy: Entropy, dropping: Dropping) -> None:
        self._journal = journal
        self._clock = clock
        self._entropy = entropy
        self.dropping = dropping

    async def set(self, keep_us: int | None, *, actor: str) -> None:
        """Say how long requests are kept; None: for ever. Nothing is dropped by this alone."""
        await self._record(set_retention(keep_us, at_us=self._clock.now_us(), actor=actor))

    async def place(self, asked: HoldAsked, *, actor: str) -> Placed:
        """Hold what a scope covers; a request must be in the log for that."""
        placed = holds.place(
            self._journal.state.holds,
            asked,
            hold_id=self._entropy.new_id(),
            at_us=self._clock.now_us(),
            actor=actor,
        )
        if placed.scope == HoldScope.Request and placed.scope_id is not None:
            await self._refuse_absent(placed.scope_id)
        await self._record(placed)
        state = self._journal.state
        left = state.retention.within(placed.since_us, placed.until_us)
        if placed.scope == HoldScope.Client:
            left = [segment for segment in left if placed.scope_id in segment.told.clients]
        if placed.scope == HoldScope.Request:
            left = []
        return Placed(state.holds.by_id[placed.hold_id], tuple(left))

    async def release(self, hold_id: str, *, actor: str, reason: str) -> Hold:
        """End a hold."""
        state = self._journal.state
        event = holds.release(state.holds, hold_id, at_us=self._clock.now_us(), actor=actor, reason=reason)
        hold = state.holds.by_id[hold_id]
        await self._record(event)
        return hold

    async def _refuse_absent(self, request_id: str) -> None:
        if await asyncio.to_thread(self._journal.log.stream, request_stream(request_id)):
            return
        archived = self._journal.state.retention.perhaps_with(request_id)
        if not archived:
            raise NotFoundError(f"no request has the id {request_id[:64]!r}", param="scope_id")
        names = ", ".join(segment.name for segment in archived)
        raise ConflictError(
            f"request {request_id[:64]} is not in the log any more, so it cannot be held here: keep the"
            f" archived segment {names}",
            param="scope_id",
        )

    async def _record(self, event: Event) -> None:
        await self._journal.settled(self._journal.record_next(RETENTION_STREAM, event))

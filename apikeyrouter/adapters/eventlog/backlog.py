"""What waits for the writer: batches of encoded events, each one transaction, in order and bounded."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from apikeyrouter.domain.events import NewEvent, Recorded
from apikeyrouter.limits import (
    MOST_BATCH_BYTES,
    MOST_BATCH_EVENTS,
    MOST_QUEUED_BYTES,
    MOST_QUEUED_EVENTS,
)


class Batch:
    """The events of one transaction, and who waits for them.

    `values` holds the columns of all rows one after the other, ready to be bound to one INSERT.
    """

    __slots__ = ("events", "first_position", "size_bytes", "values", "waiters")

    def __init__(self, first_position: int) -> None:
        self.first_position = first_position
        self.values: list[object] = []
        self.events: list[NewEvent] = []
        self.waiters: list[asyncio.Future[None]] = []
        self.size_bytes = 0

    @property
    def last_position(self) -> int:
        """The position of the last event."""
        return self.first_position + len(self.events) - 1

    def has_room_for(self, count: int, size_bytes: int) -> bool:
        """Tell if more events may share this transaction; whatever comes first may."""
        if not self.events:
            return True
        return (
            len(self.events) + count <= MOST_BATCH_EVENTS and self.size_bytes + size_bytes <= MOST_BATCH_BYTES
        )

    def recorded(self) -> list[Recorded]:
        """Return the events with their positions."""
        return [Recorded(position, *event) for position, event in enumerate(self.events, self.first_position)]


class Backlog:
    """The batches that the writer has not taken yet; the last one is still being filled."""

    def __init__(self) -> None:
        self._batches: deque[Batch] = deque()
        self._count = 0
        self._size_bytes = 0
        self._grouping = False
        self._joining = False

    @contextmanager
    def together(self) -> Iterator[None]:
        """Put all that is added within into the batch of what is added first."""
        self._grouping = True
        try:
            yield
        finally:
            self._grouping = self._joining = False

    @property
    def full(self) -> bool:
        """True when nothing more should be let in, but for what belongs to something that was."""
        return not self._joining and (
            self._count >= MOST_QUEUED_EVENTS or self._size_bytes >= MOST_QUEUED_BYTES
        )

    def add(
        self,
        head: int,
        events: Sequence[NewEvent],
        encoded: Sequence[tuple[str, bytes]],
        waiter: asyncio.Future[None],
    ) -> int:
        """Put events behind a position, all into one transaction; return the position of the last one."""
        count, size_bytes = len(events), 0
        values: list[object] = []
        for (stream, version, _), (name, state) in zip(events, encoded, strict=True):
            head += 1
            size_bytes += len(state)
            values += (head, stream, version, name, state)
        if not self._joining and not (self._batches and self._batches[-1].has_room_for(count, size_bytes)):
            self._batches.append(Batch(head - count + 1))
        self._joining = self._grouping
        batch = self._batches[-1]
        batch.values += values
        batch.events += events
        batch.size_bytes += size_bytes
        batch.waiters.append(waiter)
        self._count += count
        self._size_bytes += size_bytes
        return head

    def take(self) -> Batch | None:
        """Hand over the oldest batch."""
        if not self._batches:
            return None
        batch = self._batches.popleft()
        self._count -= len(batch.events)
        self._size_bytes -= batch.size_bytes
        return batch

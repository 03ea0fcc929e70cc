"""The event log in memory: the library's plain-Python recorder behind the port.

On its recorder rather than on a list: positions, versions and atomicity are then the library's own, and since
events become bytes here too, what no file could hold is refused here as well.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

from eventsourcing.persistence import IntegrityError, Notification, StoredEvent
from eventsourcing.popo import POPOApplicationRecorder

from apikeyrouter.adapters.eventlog.followers import Followers
from apikeyrouter.adapters.eventlog.mapper import from_stored, to_stored
from apikeyrouter.adapters.eventlog.outage import CLOSED, PLACE_TAKEN, unavailable
from apikeyrouter.application.ports import Follower
from apikeyrouter.domain.events import NewEvent, Recorded
from apikeyrouter.limits import MOST_PAGE_EVENTS


class MemoryLog:
    """Implements `EventLog`; durable, as far as memory is, when `append` returns."""

    def __init__(self) -> None:
        self.head = 0
        self.available = True
        self._reason = ""
        self._condemned = False
        self._recorder = _MemoryRecorder()
        self._followers = Followers()

    def append(self, events: Sequence[NewEvent]) -> asyncio.Future[None]:
        """Store events all or none; the followers have been told when this returns."""
        if not self.available:
            raise unavailable(self._reason)
        stored = [StoredEvent(stream, version, *to_stored(event)) for stream, version, event in events]
        durable = asyncio.get_running_loop().create_future()
        first = self.head + 1
        self.head += len(events)
        try:
            self._recorder.insert_events(stored)
        except IntegrityError:
            self.available, self._reason = False, PLACE_TAKEN
            durable.set_exception(unavailable(PLACE_TAKEN))
            durable.exception()  # marks it as seen: nobody has to await an append
        else:
            durable.set_result(None)
            self._followers.tell([Recorded(position, *event) for position, event in enumerate(events, first)])
        return durable

    def together(self) -> AbstractContextManager[None]:
        """Do nothing: memory ends all at once."""
        return nullcontext()

    def follow(self, follower: Follower) -> None:
        """Call `follower` with every batch."""
        self._followers.add(follower)

    def read(self, after: int = 0, until: int | None = None) -> Iterator[Recorded]:
        """Yield the events with `after < position <= until`."""
        while page := self._recorder.select_notifications(
            after, MOST_PAGE_EVENTS, until, inclusive_of_start=False
        ):
            yield from map(_recorded, page)
            after = page[-1].id

    def stream(self, stream: str) -> list[Recorded]:
        """Return one stream from its first event; empty if there is none."""
        return [_recorded(notification) for notification in self._recorder.select_stream(stream)]

    def event(self, stream: str, version: int) -> Recorded | None:
        """Return one event by its place in its stream; None if the log does not have it."""
        return next((one for one in self.stream(stream) if one.version == version), None)

    def within(self, prefixes: Sequence[str], after: int, until: int) -> list[Recorded]:
        """Return the events with `after < position <= until` of streams whose names begin so."""
        return [one for one in self.read(after, until) if one.stream.startswith(tuple(prefixes))]

    def condemn(self, reason: str) -> None:
        """Take no more."""
        self.available, self._reason, self._condemned = False, reason, True

    async def reopen(self) -> None:
        """Take appends again after one that was refused."""
        if self._condemned or self._reason == CLOSED:
            raise unavailable(self._reason)
        self.head = self._recorder.max_notification_id() or 0
        self.available = True

    async def close(self) -> None:
        """Take no more."""
        self.available, self._reason = False, CLOSED


class _MemoryRecorder(POPOApplicationRecorder):
    """The library's recorder, which can also tell the positions of a stream's events."""

    def select_stream(self, stream: str) -> list[Notification]:
        with self._database_lock:
            places = sorted(self._stored_events_index.get(stream, {}).items())
            return [self.select_notifications(place + 1, 1)[0] for _, place in places]


def _recorded(stored: Notification) -> Recorded:
    stream, version = str(stored.originator_id), stored.originator_version
    return Recorded(stored.id, stream, version, from_stored(stream, version, stored.topic, stored.state))

"""The world of one request as recorded: its clock, its chance, and everybody else's events."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

from apikeyrouter.application.journal import Journal
from apikeyrouter.application.ports import Follower
from apikeyrouter.application.retrace import follows
from apikeyrouter.domain.events import (
    Event,
    NewEvent,
    QuotaCorrected,
    QuotaLimitLearned,
    Recorded,
    RouteDecided,
    RouteDeferred,
    RouteRefused,
)
from apikeyrouter.domain.state import RouterState


class RecordedTime:
    """A request's own events in their order, and the state as others leave it when each is due.

    Asking for the time brings the state up to the event that is to be made next, whose time it is: whatever
    others had recorded by then has happened.
    """

    def __init__(self, journal_state: RouterState, events: Sequence[Recorded], stream: str) -> None:
        self.state = journal_state
        self.own = [recorded for recorded in events if _is_own(recorded, stream)]
        self.since_us = 0
        self._then_us: int | None = None
        self._coming = list(events)
        self._stream = stream
        self._place = 0
        self._made = 0

    def now_us(self) -> int:
        """Return the time of the event that comes next."""
        self.let_others_go_on()
        return self.own[min(self._made, len(self.own) - 1)].event.at_us

    def elapsed_us(self) -> int:
        """Return the duration that was set; another takes its place where one was set for later."""
        now_us = self.since_us
        if self._then_us is not None:
            self.since_us, self._then_us = self._then_us, None
        return now_us

    def pass_us(self, duration_us: int, *, then_us: int | None = None) -> None:
        """Let time pass; `then_us` is what is told from the next question but one on."""
        self.since_us += duration_us
        self._then_us = then_us

    def wait(self, deferred: RouteDeferred) -> None:
        """Let the time pass that the request has waited when its turn comes, or its patience ends."""
        until_us = deferred.wait_until_us
        match self.coming():
            case RouteDeferred() as once_more:
                left_us = once_more.wait_until_us - once_more.at_us
                until_us = max(until_us - left_us, deferred.at_us)
            case RouteDecided() as decided:
                until_us = min(decided.at_us, until_us)
        self.pass_us(0, then_us=self.since_us + until_us - deferred.at_us)

    def made(self, count: int) -> None:
        """Note that events of the request have been made."""
        self._made += count
        self._place += count

    def coming(self) -> Event | None:
        """Return the request's own next event."""
        own = (one.event for one in self.own[self._made :] if one.stream == self._stream)
        return next(own, None)

    def let_others_go_on(self) -> None:
        """Take in what others had recorded before the event that comes next."""
        while self._place < len(self._coming) and not _is_own(self._coming[self._place], self._stream):
            self.state.evolve(*self._coming[self._place])
            self._place += 1


class RecordingLog:
    """Implements `EventLog`: keeps what is appended, durable at once."""

    def __init__(self, time: RecordedTime) -> None:
        self.head = 0
        self.available = True
        self.made: list[Recorded] = []
        self._time = time

    def append(self, events: Sequence[NewEvent]) -> asyncio.Future[None]:
        """Keep events at the positions that they are about to get."""
        first = self._time.state.position + 1
        self.made += [Recorded(position, *new) for position, new in enumerate(events, first)]
        self._time.made(len(events))
        durable = asyncio.get_running_loop().create_future()
        durable.set_result(None)
        return durable

    def together(self) -> AbstractContextManager[None]:
        """Do nothing: nothing that is kept here is lost."""
        return nullcontext()

    def read(self, after: int = 0, until: int | None = None) -> Iterator[Recorded]:  # noqa: ARG002
        """Yield nothing: the state is there already."""
        return iter(())

    def stream(self, stream: str) -> list[Recorded]:  # noqa: ARG002 - the port's shape
        """Return nothing."""
        return []

    def follow(self, follower: Follower) -> None:
        """Ignore followers."""

    async def reopen(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""


class RecordedJournal(Journal):
    """A journal that takes the record's word for time, and wakes who waits when something was recorded."""

    def __init__(self, log: RecordingLog, time: "RecordedTime") -> None:
        super().__init__(log, time, "replay")
        self.state, self.ready = time.state, True
        self._time = time

    def meet(self, at_us: int) -> None:
        """Accept any time."""

    def hear(self) -> None:
        """Let those who wait try again."""
        self._heard()

    def record(self, events: Sequence[NewEvent]) -> "asyncio.Future[None]":
        """Record behind what others have recorded by then."""
        self._time.let_others_go_on()
        durable = super().record(events)
        if isinstance(events[-1].event, RouteDeferred):
            self._time.wait(events[-1].event)
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self.hear)
        return durable

    def _flagged(self, events: Sequence[NewEvent]) -> Sequence[NewEvent]:
        return events


class RecordedChance:
    """Implements `Entropy`: the id and the seeds that were drawn."""

    def __init__(self, time: RecordedTime, request_id: str) -> None:
        self._time = time
        self._request_id = request_id

    def new_id(self) -> str:
        """Return the request's id."""
        return self._request_id

    def seed(self) -> int:
        """Return the seed of the decision that comes next; a deferral has none, and needs none."""
        event = self._time.coming()
        return event.seed if isinstance(event, RouteDecided | RouteRefused) else 0


def _is_own(recorded: Recorded, stream: str) -> bool:
    """Tell whether an event is a request's, or follows from it; what is learned, others have told."""
    if isinstance(recorded.event, QuotaLimitLearned | QuotaCorrected):
        return False
    return recorded.stream == stream or follows(recorded, stream)

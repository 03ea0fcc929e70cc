"""A node of the past: the real journal and fold, a clock that says what it is told, a log that only tells."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import cast

from apikeyrouter.application.journal import Journal
from apikeyrouter.application.learning import Learning
from apikeyrouter.application.ports import Follower
from apikeyrouter.application.upkeep import Upkeep
from apikeyrouter.domain.events import EventRef, NewEvent, Recorded
from apikeyrouter.domain.failures import Failure

Told = Callable[[Recorded], None]


class PastClock:
    """Says the instants that it is set to."""

    def __init__(self) -> None:
        self.at_us = 0
        self.since_us = 0

    def now_us(self) -> int:
        """Return the instant that was set."""
        return self.at_us

    def elapsed_us(self) -> int:
        """Return the duration that was set."""
        return self.since_us


class ToldLog:
    """Implements `EventLog` for a run that nobody keeps: every event is told to whoever counts."""

    def __init__(self, told: Told, head: int = 0) -> None:
        self.head = head
        self.available = True
        self._told = told

    def append(self, events: Sequence[NewEvent]) -> "asyncio.Future[None]":
        """Tell the events; nobody waits for durability in the past, so there is no future to wait on."""
        for new in events:
            self.head += 1
            self._told(Recorded(self.head, *new))
        return cast("asyncio.Future[None]", None)

    def together(self) -> AbstractContextManager[None]:
        """Do nothing: nothing is kept."""
        return nullcontext()

    def read(self, after: int = 0, until: int | None = None) -> Iterator[Recorded]:  # noqa: ARG002
        """Yield nothing: nothing is kept."""
        return iter(())

    def stream(self, stream: str) -> list[Recorded]:  # noqa: ARG002 - the port's shape
        """Return nothing: nothing is kept."""
        return []

    def follow(self, follower: Follower) -> None:
        """Ignore followers: `told` is the only one."""

    async def reopen(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""


class PastJournal(Journal):
    """A journal whose times are those of the record: steps of the clock are events there already."""

    def meet(self, at_us: int) -> None:
        """Accept any time."""

    def _flagged(self, events: Sequence[NewEvent]) -> Sequence[NewEvent]:
        return events


class PastLearning(Learning):
    """Learns from refusals where they are made up; where they are recorded, what was learned is as well."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(journal)
        self.is_recorded = False

    def refused(self, key_id: str, model: str, failure: Failure, at_us: int, evidence: EventRef) -> None:
        """Learn from a refusal that nobody has recorded."""
        if not self.is_recorded:
            super().refused(key_id, model, failure, at_us, evidence)


class World:
    """Clock, journal and upkeep of one run."""

    def __init__(self, told: Told) -> None:
        self.clock = PastClock()
        self.log = ToldLog(told)
        self.journal = PastJournal(self.log, self.clock, "what-if")
        self.journal.ready = True
        self.upkeep = Upkeep(self.journal)
        self.learning = PastLearning(self.journal)

    def pass_by(self, recorded: Recorded) -> None:
        """Take in an event from before the stretch, as it is."""
        self.journal.state.evolve(*recorded)
        self.log.head = recorded.position

"""One request in a run, and the steps that it can take: what the line does with it, without the waiting."""

import asyncio

import msgspec

from apikeyrouter.application.passage import Passage
from apikeyrouter.application.request_record import RequestRecord
from apikeyrouter.application.what_if.outcomes import Ending, usage_in
from apikeyrouter.application.what_if.scripts import Script
from apikeyrouter.application.what_if.world import World
from apikeyrouter.domain import settlement
from apikeyrouter.domain.events import (
    EventRef,
    RequestCancelled,
    RequestFailed,
    RequestReleased,
    RouteDecided,
    RouteDeferred,
    RouteRefused,
)
from apikeyrouter.domain.failures import Failure
from apikeyrouter.domain.request_folds import PROCESS_DIED
from apikeyrouter.domain.settlement import Outcome

INTERNAL_ERROR = "internal_error"


class Walk(msgspec.Struct):
    """A request under way in a run.

    `in_step` is true while all that it did is what was recorded; `wait_until_us` while it waits for a key.
    """

    passage: Passage
    script: Script
    began_us: int
    in_step: bool = True
    wait_until_us: int | None = None
    wakes_at_us: int | None = None


class Steps:
    """Write what becomes of requests, through the same code as the line does."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._record = RequestRecord(world.journal, world.clock, world.upkeep, world.learning)

    def admit(self, walk: Walk, decided: RouteDecided) -> None:
        """Record a decision; the call is under way."""
        passage = walk.passage
        self._record.append(passage, decided)
        chosen = decided.chosen
        state = self._world.journal.state
        provider = state.providers[chosen.provider_id]
        passage.attempt += 1
        passage.decision = decided
        passage.offer = provider.models.get(decided.model).priced_at(state.latest_us)
        passage.is_calling = True
        walk.wait_until_us = None

    def say(self, walk: Walk, event: RouteRefused | RouteDeferred | RequestFailed) -> None:
        """Record a refusal, a deferral, or an end after which nothing follows."""
        self._record.append(walk.passage, event)

    def served(
        self, walk: Walk, outcome: Outcome, at_us: int, elapsed_us: int, first_byte_us: int, then_us: int
    ) -> None:
        """Settle a request that was answered; what follows for its key is drawn at `then_us`."""
        passage, clock = walk.passage, self._world.clock
        completed = settlement.completed(
            passage.chosen,
            passage.offer,
            outcome,
            at_us=at_us,
            elapsed_us=elapsed_us,
            first_byte_us=first_byte_us,
        )
        clock.at_us = then_us
        self._record.ended(passage, completed)

    def failed(
        self, walk: Walk, failure: Failure, elapsed_us: int, *, is_recorded: bool, is_settled_later: bool
    ) -> None:
        """Record a failed attempt, and what it means for key and provider."""
        self._world.learning.is_recorded = is_recorded
        self._record.failed(walk.passage, failure, elapsed_us, is_settled_later=is_settled_later)
        walk.passage.last_failure = failure

    def owed(self, walk: Walk, failure: Failure, elapsed_us: int, *, is_settled_later: bool) -> None:
        """Record a failed attempt that was written late: nothing followed from it."""
        at_us = self._world.clock.now_us()
        event = settlement.attempt_failed(
            walk.passage.chosen,
            failure,
            at_us=at_us,
            elapsed_us=elapsed_us,
            is_settled_later=is_settled_later,
        )
        self._record.append(walk.passage, event)
        walk.passage.last_failure = failure

    def failed_for_good(self, walk: Walk, recorded: RequestFailed) -> None:
        """End a request as it was recorded: for nothing, or after text had been produced."""
        passage = walk.passage
        if recorded.usage_source != "none" and passage.last_failure is not None:
            self.broke(walk, passage.last_failure, recorded)
            return
        self._record.append(passage, recorded)
        if recorded.failure == INTERNAL_ERROR:
            self._released(walk)

    def broke(self, walk: Walk, failure: Failure, recorded: RequestFailed) -> None:
        """End a request whose stream broke, at what had been produced by then."""
        passage = walk.passage
        ended = settlement.broken_off(
            passage.chosen,
            passage.offer,
            failure,
            usage_in(recorded),
            at_us=self._world.clock.now_us(),
            response_bytes=recorded.response_bytes,
        )
        self._record.append(passage, ended)

    def gave_up(self, walk: Walk, failure: Failure) -> None:
        """End a request for which nobody else may be asked."""
        ended = RequestFailed(
            at_us=self._world.clock.now_us(),
            attempts=walk.passage.attempt,
            failure=failure.failure_class,
            status=failure.handling.status,
        )
        self._record.append(walk.passage, ended)

    def left(self, walk: Walk, recorded: RequestCancelled) -> None:
        """Settle a call whose client left."""
        self._world.clock.since_us = recorded.elapsed_us
        self._record.abandoned(
            walk.passage,
            asyncio.CancelledError(),
            usage=usage_in(recorded),
            response_bytes=recorded.response_bytes,
        )

    def released(self, walk: Walk, trigger: str, *, follows: bool) -> None:
        """Free what a request held whose outcome nobody knows."""
        passage = walk.passage
        request = self._world.journal.state.open_requests.get(passage.stream)
        called = None if request is None else request.key_id
        died = request is not None and called is not None and trigger == PROCESS_DIED
        event = RequestReleased(
            at_us=self._world.clock.now_us(),
            attempt=passage.attempt,
            key_id=called or "",
            trigger=trigger,
            charged_nano_usd=request.cost_bound_nano_usd if request is not None and died else 0,
        )
        self._record.append(passage, event)
        if follows:
            self._released(walk)

    def end(self, walk: Walk, ending: Ending, at_us: int) -> Failure | None:
        """Let a call end that was not recorded here; return the failure that may be tried elsewhere."""
        if ending.outcome is not None:
            elapsed_us = at_us - walk.began_us
            self.served(walk, ending.outcome, at_us, elapsed_us, ending.first_byte_us, at_us)
        elif ending.left is not None:
            self.left(walk, msgspec.structs.replace(ending.left, elapsed_us=at_us - walk.began_us))
        elif ending.failure is not None:
            broke = ending.broke is not None
            self.failed(walk, ending.failure, ending.elapsed_us, is_recorded=False, is_settled_later=broke)
            if ending.broke is None:
                return ending.failure
            self.broke(walk, ending.failure, ending.broke)
        return None

    def _released(self, walk: Walk) -> None:
        passage = walk.passage
        if passage.decision is not None:
            at_us, evidence = self._world.clock.now_us(), EventRef(passage.stream, passage.version)
            key_id = passage.chosen.chosen.key_id
            self._world.upkeep.released(key_id, at_us=at_us, evidence=evidence)

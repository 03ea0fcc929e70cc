"""What is recorded of a request after it was decided, and what follows from that for keys and quotas.

Whatever happens, a request comes to one end; if the log fails just then, the end is owed to it.
"""

import asyncio
from contextlib import suppress

import msgspec

from apikeyrouter.application.journal import Journal, unavailable
from apikeyrouter.application.learning import Learning
from apikeyrouter.application.passage import Passage
from apikeyrouter.application.payloads.capture import Capture, NoCapture
from apikeyrouter.application.ports import Clock
from apikeyrouter.application.upkeep import Upkeep
from apikeyrouter.domain import settlement
from apikeyrouter.domain.events import Event, EventRef, NewEvent, RequestFailed, RequestReleased
from apikeyrouter.domain.failures import Failure
from apikeyrouter.domain.interfaces.provider_adapter import Usage
from apikeyrouter.domain.models.system_error import LogUnavailableError, ShuttingDownError
from apikeyrouter.domain.rate_limits import RateLimitReport


class RequestRecord:
    """Write the events of requests, and draw their consequences."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        upkeep: Upkeep,
        learning: Learning | None = None,
        capture: Capture | None = None,
    ) -> None:
        self._capture = capture or NoCapture()
        self._journal = journal
        self._clock = clock
        self._upkeep = upkeep
        self._learning = learning or Learning(journal)

    def append(self, passage: Passage, event: Event) -> asyncio.Future[None]:
        """Record the next event of a request."""
        known = self._journal.state.open_requests.get(passage.stream)
        if known is None and passage.version:
            raise unavailable()  # what this request had recorded was lost with a failed append
        version = 1 if known is None else known.version + 1
        durable = self._journal.record((NewEvent(passage.stream, version, event),))
        passage.version = version
        if self._journal.state.budgets.due:
            self._upkeep.alert(event.at_us, EventRef(passage.stream, version))
        return durable

    def failed(
        self, passage: Passage, failure: Failure, elapsed_us: int, *, is_settled_later: bool = False
    ) -> None:
        """Record a failed attempt, and what it means for the key and its provider."""
        at_us = self._clock.now_us()
        key_id = passage.chosen.chosen.key_id
        known = self._journal.state.open_requests.get(passage.stream)
        before = self._journal.state.keys[key_id]
        event = settlement.attempt_failed(
            passage.chosen, failure, at_us=at_us, elapsed_us=elapsed_us, is_settled_later=is_settled_later
        )
        try:
            self.append(passage, event)
        except LogUnavailableError:
            self._journal.owe(passage.stream, event)
            raise
        if known is not None:
            evidence = EventRef(passage.stream, passage.version)
            used = known.material_version
            self._upkeep.attempt_failed(
                before, failure, at_us=at_us, evidence=evidence, material_version=used
            )
            self._upkeep.released(key_id, at_us=at_us, evidence=evidence)
            self._learning.refused(key_id, passage.chosen.model, failure, at_us, evidence)

    def answered(self, passage: Passage, limits: tuple[RateLimitReport, ...]) -> None:
        """Record what an answer tells of limits. If the log fails now, the settlement will meet that too."""
        if not limits:
            return
        chosen, evidence = passage.chosen.chosen, EventRef(passage.stream, passage.version)
        at_us, model = self._clock.now_us(), passage.chosen.model
        with suppress(LogUnavailableError):
            self._learning.answered(chosen.key_id, model, limits, at_us, evidence)

    def ended(self, passage: Passage, end: Event) -> asyncio.Future[None]:
        """Record the last event of a request, owing it to the log if the log fails now."""
        self._capture.ended(passage)
        try:
            durable = self.append(passage, end)
            if not isinstance(end, RequestFailed):
                self._served(passage)
        except LogUnavailableError:
            self._journal.owe(passage.stream, end)
            raise
        return durable

    def abandoned(
        self, passage: Passage, error: BaseException, *, usage: Usage | None = None, response_bytes: int = 0
    ) -> None:
        """End a request that leaves the line early, whatever the reason; harmless if it has ended."""
        if isinstance(error, LogUnavailableError):
            error.request_id = passage.request_id
        self._capture.ended(passage)
        if passage.stream not in self._journal.state.open_requests:
            return
        end = self._early_end(passage, error, usage, response_bytes)
        try:
            self.append(passage, end)
            if passage.decision is not None:
                evidence = EventRef(passage.stream, passage.version)
                self._upkeep.released(passage.chosen.chosen.key_id, at_us=end.at_us, evidence=evidence)
        except LogUnavailableError:
            self._journal.owe(passage.stream, end)

    def _served(self, passage: Passage) -> None:
        key_id = passage.chosen.chosen.key_id
        if self._upkeep.is_settled(key_id):
            return
        at_us, evidence = self._clock.now_us(), EventRef(passage.stream, passage.version)
        self._upkeep.served(key_id, at_us=at_us, evidence=evidence)
        self._upkeep.released(key_id, at_us=at_us, evidence=evidence)

    def _early_end(
        self, passage: Passage, error: BaseException, usage: Usage | None, response_bytes: int
    ) -> Event:
        at_us = self._clock.now_us()
        called = self._journal.state.open_requests[passage.stream].key_id
        left = isinstance(error, asyncio.CancelledError | GeneratorExit)
        if left and called is not None and passage.is_calling:
            return settlement.cancelled(
                passage.chosen,
                passage.offer,
                usage,
                at_us=at_us,
                elapsed_us=self._clock.elapsed_us() - passage.started_us,
                response_bytes=response_bytes,
            )
        log_failed = isinstance(error, LogUnavailableError)
        if log_failed and passage.last_failure is not None:
            # The record of that failure may be lost with the log's: this end counts the call that was made.
            return _failed(passage, passage.last_failure, at_us)
        if left:
            return _released(passage, called, CLIENT_LEFT, at_us)
        if isinstance(error, LogUnavailableError | ShuttingDownError):
            return _released(passage, called, error.code, at_us)
        return _broke_down(passage, called, at_us)


CLIENT_LEFT = "client_left"


def _broke_down(passage: Passage, key_id: str | None, at_us: int) -> RequestFailed:
    """End a request over a fault of ours; a call that was out by then counts at its bound."""
    ended = RequestFailed(at_us=at_us, attempts=passage.attempt, failure="internal_error", status=500)
    if key_id is None or not passage.is_calling:
        return ended
    bound = passage.chosen.chosen.cost_bound_nano_usd
    return msgspec.structs.replace(ended, usage_source=settlement.BOUNDED, cost_nano_usd=bound)


def _released(passage: Passage, key_id: str | None, trigger: str, at_us: int) -> RequestReleased:
    return RequestReleased(at_us=at_us, attempt=passage.attempt, key_id=key_id or "", trigger=trigger)


def _failed(passage: Passage, failure: Failure, at_us: int) -> RequestFailed:
    return RequestFailed(
        at_us=at_us,
        attempts=passage.attempt,
        failure=failure.failure_class,
        status=failure.handling.status,
    )

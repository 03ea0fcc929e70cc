"""The straight line of one request: gather, decide, record, attempt, settle.

Between reading the state and recording what was decided from it there is no await, so a burst of requests
sees each other's reservations and no two of them decide from the same state.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from apikeyrouter.application.durability import Durability
from apikeyrouter.application.journal import Journal, unavailable
from apikeyrouter.application.passage import Order, Passage
from apikeyrouter.application.ports import Clock, Entropy, Vault
from apikeyrouter.application.providers import ProviderRegistry
from apikeyrouter.application.refusals import provider_error, refusal
from apikeyrouter.application.routed_stream import RoutedStream
from apikeyrouter.domain import keys, settlement
from apikeyrouter.domain.events import (
    Event,
    EventRef,
    NewEvent,
    RequestFailed,
    RequestReleased,
    RouteDecided,
    RouteRefused,
    key_stream,
    request_stream,
)
from apikeyrouter.domain.failures import AttemptFailedError, Failure, FailureClass
from apikeyrouter.domain.interfaces.provider_adapter import (
    ProviderAdapter,
    UpstreamAnswer,
    UpstreamCall,
    Usage,
)
from apikeyrouter.domain.models.system_error import KeyMaterialMissingError, LogUnavailableError
from apikeyrouter.domain.routing import RouteQuestion, decide
from apikeyrouter.domain.settlement import Outcome

Answer = TypeVar("Answer")
Attempt = Callable[[ProviderAdapter, UpstreamCall], Awaitable[Answer]]


class RouteRequest:
    """Route requests over keys."""

    def __init__(  # noqa: PLR0913 - the composition root hands in the world
        self,
        *,
        journal: Journal,
        providers: ProviderRegistry,
        vault: Vault,
        clock: Clock,
        entropy: Entropy,
        durability: Durability,
        max_attempts: int,
        timeout_us: int,
    ) -> None:
        self._journal = journal
        self._providers = providers
        self._vault = vault
        self._clock = clock
        self._entropy = entropy
        self._durability = durability
        self._max_attempts = max_attempts
        self._timeout_us = timeout_us

    async def execute(self, order: Order) -> tuple[Passage, UpstreamAnswer]:
        """Serve a request whole."""
        passage = self._enter(order)
        try:
            answer = await self._attempt(passage, lambda adapter, call: adapter.execute(call))
            await self.settle(passage, settlement.whole(answer))
        except BaseException as error:
            self.abandon(passage, error)
            raise
        return passage, answer

    async def open_stream(self, order: Order) -> tuple[Passage, RoutedStream]:
        """Serve a request as a stream; returns once the first event is there."""
        passage = self._enter(order)
        try:
            upstream = await self._attempt(passage, lambda adapter, call: adapter.open_stream(call))
        except BaseException as error:
            self.abandon(passage, error)
            raise
        return passage, RoutedStream(self, passage, upstream)

    # --- the steps, in their order -------------------------------------------------------------------

    def _enter(self, order: Order) -> Passage:
        request_id = self._entropy.new_id()
        return Passage(
            request_id=request_id,
            stream=request_stream(request_id),
            order=order,
            started_us=self._clock.elapsed_us(),
        )

    async def _attempt(self, passage: Passage, attempt: Attempt[Answer]) -> Answer:
        """Decide and call until an answer is there; a failure changes the state, so decide again."""
        while True:
            decision = await self._next_decision(passage)
            try:
                adapter = self._providers.adapter(decision.chosen.provider_id)
                answer = await attempt(adapter, self._call(passage, decision))
            except AttemptFailedError as failed:
                await self._fail(passage, failed.failure)
            else:
                passage.first_byte_us = self._upstream_returned(passage)
                return answer

    async def _next_decision(self, passage: Passage) -> RouteDecided:
        """Decide, record, and wait until the record is durable: only then may the key be used."""
        decision, durable = self._decide(passage)
        if isinstance(decision, RouteRefused):
            await self._journal.settled(durable)
            raise refusal(passage, decision)
        self._admit(passage, decision, durable)
        if self._durability.awaits_decision_before_call:
            await self._journal.settled(durable)
        passage.attempt_started_us = self._clock.elapsed_us()
        return decision

    def _call(self, passage: Passage, decision: RouteDecided) -> UpstreamCall:
        try:
            key_material = self._vault.unseal(decision.chosen.key_id)
        except KeyMaterialMissingError as missing:
            lost = Failure(failure_class=FailureClass.KeyRejected, code=missing.code, sent=False)
            raise AttemptFailedError(lost) from None
        return UpstreamCall(
            operation=decision.facts.operation,
            model=decision.facts.model,
            body=passage.order.body,
            key_material=key_material,
            deadline_us=self._timeout_us - (passage.attempt_started_us - passage.started_us),
        )

    def _decide(self, passage: Passage) -> tuple[RouteDecided | RouteRefused, asyncio.Future[None]]:
        at_us = self._clock.now_us()
        self._wake_keys(at_us)
        question = RouteQuestion(
            facts=passage.order.facts,
            policy=passage.order.policy,
            attempt=passage.attempt + 1,
            tried=passage.tried,
            at_us=at_us,
            seed=self._entropy.seed(),
        )
        decision = decide(self._journal.state, question)
        return decision, self._record(passage, decision)

    def _admit(self, passage: Passage, decision: RouteDecided, durable: asyncio.Future[None]) -> None:
        provider = self._journal.state.providers[decision.chosen.provider_id]
        passage.attempt += 1
        passage.decision = decision
        passage.decided = durable
        passage.offer = provider.models.get(decision.facts.model)

    async def settle(self, passage: Passage, outcome: Outcome) -> None:
        """Record what was consumed; in strict mode the answer does not end before that is durable."""
        if self._durability.awaits_decision_before_answer and passage.decided is not None:
            await self._journal.settled(passage.decided)
        passage.elapsed_us = self._clock.elapsed_us() - passage.started_us
        completed = settlement.completed(
            passage.chosen,
            passage.offer,
            outcome,
            at_us=self._clock.now_us(),
            elapsed_us=passage.elapsed_us,
            first_byte_us=passage.first_byte_us,
        )
        passage.cost_nano_usd = completed.cost_nano_usd
        await self._end(passage, completed)

    async def _fail(self, passage: Passage, failure: Failure) -> None:
        """Record a failed attempt; return if another key may be asked, else end the request."""
        self._record_failure(passage, failure, self._upstream_returned(passage))
        if failure.handling.another_key and passage.attempt < self._max_attempts:
            if self._clock.elapsed_us() - passage.started_us < self._timeout_us:
                return
            failure = msgspec.structs.replace(failure, failure_class=FailureClass.TotalTimeout)
        ended = RequestFailed(
            at_us=self._clock.now_us(),
            attempts=passage.attempt,
            failure=failure.failure_class,
            status=failure.handling.status,
        )
        await self._end(passage, ended)
        raise provider_error(passage, failure)

    async def break_off(
        self, passage: Passage, failure: Failure, usage: Usage | None, response_bytes: int
    ) -> None:
        """End a stream that broke: text has reached the client, so no other key is asked."""
        self._record_failure(passage, failure, self._clock.elapsed_us() - passage.attempt_started_us)
        ended = settlement.broken_off(
            passage.chosen,
            passage.offer,
            failure,
            usage,
            at_us=self._clock.now_us(),
            response_bytes=response_bytes,
        )
        await self._end(passage, ended)

    def abandon(
        self, passage: Passage, error: BaseException, *, usage: Usage | None = None, response_bytes: int = 0
    ) -> None:
        """Close a request that leaves the line early, whatever the reason; harmless if it is closed."""
        if isinstance(error, LogUnavailableError):
            error.request_id = passage.request_id
        if passage.stream not in self._journal.state.open_requests:
            return
        end = self._early_end(passage, error, usage, response_bytes)
        try:
            self._record(passage, end)
        except LogUnavailableError:
            self._journal.owe(passage.stream, end)

    # --- what becomes of keys ------------------------------------------------------------------------

    def _wake_keys(self, at_us: int) -> None:
        """End the rests whose time has come, before anything is decided."""
        state = self._journal.state
        if state.next_wake_us is None or at_us < state.next_wake_us:
            return
        for key_id in [key_id for key_id, until_us in state.resting.items() if until_us <= at_us]:
            self._record_key(key_id, keys.wake(state.keys[key_id], at_us=at_us))

    def _record_failure(self, passage: Passage, failure: Failure, elapsed_us: int) -> None:
        at_us = self._clock.now_us()
        key_id = passage.chosen.chosen.key_id
        known = self._journal.state.open_requests.get(passage.stream)
        before = self._journal.state.keys[key_id]
        self._record(
            passage, settlement.attempt_failed(passage.chosen, failure, at_us=at_us, elapsed_us=elapsed_us)
        )
        passage.tried = (*passage.tried, key_id)
        passage.last_failure = failure
        if known is not None:
            evidence = EventRef(passage.stream, passage.version)
            used = known.material_version
            change = keys.suffer(before, failure, at_us=at_us, evidence=evidence, material_version=used)
            self._record_key(key_id, change)

    def _heal_key(self, passage: Passage) -> None:
        key = self._journal.state.keys[passage.chosen.chosen.key_id]
        evidence = EventRef(passage.stream, passage.version)
        self._record_key(key.key_id, keys.succeed(key, at_us=self._clock.now_us(), evidence=evidence))

    # --- recording -----------------------------------------------------------------------------------

    async def _end(self, passage: Passage, end: Event) -> None:
        """Record the last event of a request, owing it to the log if the log fails now."""
        try:
            durable = self._record(passage, end)
            if not isinstance(end, RequestFailed):
                self._heal_key(passage)
            if self._durability.awaits_settlement:
                await self._journal.settled(durable)
        except LogUnavailableError:
            self._journal.owe(passage.stream, end)
            raise

    def _record(self, passage: Passage, event: Event) -> asyncio.Future[None]:
        known = self._journal.state.open_requests.get(passage.stream)
        if known is None and passage.version:
            raise unavailable()  # what this request had recorded was lost with a failed append
        version = 1 if known is None else known.version + 1
        durable = self._journal.record((NewEvent(passage.stream, version, event),))
        passage.version = version
        return durable

    def _record_key(self, key_id: str, change: Event | None) -> None:
        if change is not None:
            stream = key_stream(key_id)
            version = self._journal.state.next_version(stream)
            self._journal.record((NewEvent(stream, version, change),))

    def _upstream_returned(self, passage: Passage) -> int:
        elapsed_us = self._clock.elapsed_us() - passage.attempt_started_us
        passage.upstream_us += elapsed_us
        return elapsed_us

    def _early_end(
        self, passage: Passage, error: BaseException, usage: Usage | None, response_bytes: int
    ) -> Event:
        at_us = self._clock.now_us()
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            return settlement.cancelled(
                passage.chosen,
                passage.offer,
                usage,
                at_us=at_us,
                elapsed_us=self._clock.elapsed_us() - passage.started_us,
                response_bytes=response_bytes,
            )
        if isinstance(error, LogUnavailableError):
            key_id = passage.chosen.chosen.key_id
            return RequestReleased(
                at_us=at_us, attempt=passage.attempt, key_id=key_id, trigger="log_unavailable"
            )
        return RequestFailed(at_us=at_us, attempts=passage.attempt, failure="internal_error", status=500)

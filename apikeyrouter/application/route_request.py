"""The straight line of one request: gather, decide, record, attempt, settle.

Between reading the state and recording what was decided from it there is no await, so a burst of requests
sees each other's reservations and no two of them decide from the same state.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from apikeyrouter.application.call_bodies import body_of
from apikeyrouter.application.countable_input import CountTokens
from apikeyrouter.application.durability import Durability
from apikeyrouter.application.journal import Journal
from apikeyrouter.application.learning import Learning
from apikeyrouter.application.passage import Order, Passage
from apikeyrouter.application.payloads.capture import Capture, NoCapture
from apikeyrouter.application.ports import Clock, Entropy, Vault
from apikeyrouter.application.providers import ProviderRegistry
from apikeyrouter.application.refusals import provider_error, refusal
from apikeyrouter.application.request_record import RequestRecord
from apikeyrouter.application.routed_stream import RoutedStream
from apikeyrouter.application.second_look import decide_twice
from apikeyrouter.application.upkeep import Upkeep
from apikeyrouter.application.waiting import Taken, WaitingRoom
from apikeyrouter.domain import deferral, settlement
from apikeyrouter.domain.events import (
    Event,
    RequestFailed,
    RouteDecided,
    RouteDeferred,
    RouteRefused,
    request_stream,
)
from apikeyrouter.domain.failures import AttemptFailedError, Failure, FailureClass
from apikeyrouter.domain.interfaces.provider_adapter import (
    ProviderAdapter,
    UpstreamAnswer,
    UpstreamCall,
    UpstreamStream,
    Usage,
)
from apikeyrouter.domain.models.system_error import (
    KeyMaterialMissingError,
    LogUnavailableError,
)
from apikeyrouter.domain.questions import RouteQuestion
from apikeyrouter.domain.routing import decide
from apikeyrouter.domain.settlement import Outcome

Answer = TypeVar("Answer", UpstreamAnswer, UpstreamStream)
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
        queue_timeout_us: int,
        learning: Learning | None = None,
        count: CountTokens | None = None,
        capture: Capture | None = None,
    ) -> None:
        self._journal = journal
        self._providers = providers
        self._vault = vault
        self._clock = clock
        self._entropy = entropy
        self._durability = durability
        self._max_attempts = max_attempts
        self._timeout_us = timeout_us
        self._queue_timeout_us = queue_timeout_us
        self._count = count
        self._upkeep = Upkeep(journal)
        self._capture = capture or NoCapture()
        self._events = RequestRecord(journal, clock, self._upkeep, learning, self._capture)
        self._waiting = WaitingRoom(self._take_turn, clock.now_us)
        journal.listen(self._waiting.something_happened)

    def close(self) -> None:
        """Send away who waits for a key."""
        self._waiting.close()

    async def execute(self, order: Order) -> tuple[Passage, UpstreamAnswer]:
        """Serve a request whole."""
        passage = self._enter(order)
        try:
            answer = await self._attempt(passage, lambda adapter, call: adapter.execute(call))
            passage.answer = answer.body
            await self.settle(passage, settlement.whole(answer))
        except BaseException as error:
            self._events.abandoned(passage, error)
            raise
        return passage, answer

    async def open_stream(self, order: Order) -> tuple[Passage, RoutedStream]:
        """Serve a request as a stream; returns once the first event is there."""
        passage = self._enter(order)
        try:
            upstream = await self._attempt(passage, lambda adapter, call: adapter.open_stream(call))
        except BaseException as error:
            self._events.abandoned(passage, error)
            raise
        return passage, RoutedStream(self, passage, upstream, self._capture.gathered(passage, upstream))

    def rehearse(self, order: Order) -> RouteQuestion:
        """Return what would be decided if an order came now, which itself is not recorded."""
        return self._question(self._enter(order))

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
                self._events.answered(passage, answer.limits)
                return answer

    async def _next_decision(self, passage: Passage) -> RouteDecided:
        """Decide, record, and wait until the record is durable: only then may the key be used."""
        decision, durable = self._decide(passage)
        while isinstance(decision, RouteDeferred):
            decision, durable = await self._await_turn(passage, decision)
        if isinstance(decision, RouteRefused):
            await self._journal.settled(durable)
            raise refusal(passage, decision)
        if self._durability.awaits_decision_before_call or self._holds_hard_money(passage):
            await self._journal.settled(durable)
        passage.attempt_started_us = self._clock.elapsed_us()
        passage.is_calling = True
        return decision

    def _holds_hard_money(self, passage: Passage) -> bool:
        """Tell whether a hard budget pays: of a hold that a crash loses the same could be spent again."""
        request = self._journal.state.open_requests.get(passage.stream)
        return request is not None and request.purse is not None and request.purse.is_hard

    def _call(self, passage: Passage, decision: RouteDecided) -> UpstreamCall:
        try:
            key_material = self._vault.unseal(decision.chosen.key_id)
        except KeyMaterialMissingError as missing:
            lost = Failure(failure_class=FailureClass.KeyRejected, code=missing.code, sent=False)
            raise AttemptFailedError(lost) from None
        return UpstreamCall(
            operation=decision.facts.operation,
            model=decision.model,
            body=body_of(passage.order, decision),
            key_material=key_material,
            deadline_us=self._timeout_us - (passage.attempt_started_us - passage.started_us),
        )

    def _decide(
        self, passage: Passage
    ) -> tuple[RouteDecided | RouteRefused | RouteDeferred, "asyncio.Future[None]"]:
        """Choose a key and record that, or record that there is none: not now, or not at all."""
        order = passage.order
        question, decision = decide_twice(
            self._journal.state, self._question(passage), order.body, self._count
        )
        if question.facts is not order.facts:
            passage.order = msgspec.structs.replace(order, facts=question.facts)
        wait_us = self._wait_allowed_us(passage)
        passage.deferred = None
        if wait_us and isinstance(decision, RouteRefused):
            passage.deferred = deferral.until_capacity(self._journal.state, decision, wait_us)
        elif wait_us and self._waiting.is_queued(question.facts):
            passage.deferred = deferral.behind_others(question, wait_us)
        elif isinstance(decision, RouteDecided):
            return decision, self._admit(passage, decision)
        outcome = passage.deferred or decision
        return outcome, self._events.append(passage, outcome)

    async def _await_turn(
        self, passage: Passage, deferred: RouteDeferred
    ) -> tuple[RouteDecided | RouteRefused | RouteDeferred, "asyncio.Future[None]"]:
        """Wait for capacity; when the time for that is over, what is true then is the answer."""
        since_us = self._clock.elapsed_us()
        taken = await self._waiting.turn(
            passage,
            within_us=deferred.wait_until_us - deferred.at_us,
            retry_at_us=deferred.retry_at_us,
        )
        passage.queued_us += self._clock.elapsed_us() - since_us
        return taken or self._decide(passage)

    def _take_turn(self, passage: Passage) -> Taken | RouteRefused | None:
        """Try to serve a waiting request; a refusal is not recorded while it is of use to wait on."""
        question = self._question(passage)
        decision = decide(self._journal.state, question)
        if isinstance(decision, RouteDecided):
            return decision, self._admit(passage, decision)
        left_us = 0 if passage.deferred is None else passage.deferred.wait_until_us - question.at_us
        hopeless = deferral.until_capacity(self._journal.state, decision, left_us) is None
        return None if hopeless else decision

    def _question(self, passage: Passage) -> RouteQuestion:
        at_us = self._clock.now_us()
        self._upkeep.wake(at_us)
        return RouteQuestion(
            facts=passage.order.facts,
            policy=passage.order.policy,
            attempt=passage.attempt + 1,
            tried=passage.tried,
            avoided=passage.avoided,
            at_us=at_us,
            seed=self._entropy.seed(),
        )

    def _wait_allowed_us(self, passage: Passage) -> int:
        if not self._queue_timeout_us or self._waiting.full:
            return 0
        left_us = self._timeout_us - (self._clock.elapsed_us() - passage.started_us)
        return max(min(self._queue_timeout_us - passage.queued_us, left_us), 0)

    def _admit(self, passage: Passage, decision: RouteDecided) -> "asyncio.Future[None]":
        durable = self._events.append(passage, decision)
        state = self._journal.state
        provider = state.providers[decision.chosen.provider_id]
        passage.attempt += 1
        passage.is_calling = False
        passage.decision = decision
        passage.decided = durable
        passage.offer = provider.models.get(decision.model).priced_at(state.latest_us)
        return durable

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
        self._events.failed(passage, failure, self._upstream_returned(passage))
        passage.remember(failure, may_rest=self._wait_allowed_us(passage) > 0)
        if passage.may_ask_another(failure, self._max_attempts):
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

    def abandon(
        self, passage: Passage, error: BaseException, *, usage: Usage | None = None, response_bytes: int = 0
    ) -> None:
        """Settle a stream that nobody reads any more."""
        self._events.abandoned(passage, error, usage=usage, response_bytes=response_bytes)

    async def break_off(
        self, passage: Passage, failure: Failure, usage: Usage | None, response_bytes: int
    ) -> None:
        """End a stream that broke: text has reached the client, so no other key is asked."""

        def ended() -> RequestFailed:
            return settlement.broken_off(
                passage.chosen,
                passage.offer,
                failure,
                usage,
                at_us=self._clock.now_us(),
                response_bytes=response_bytes,
            )

        elapsed_us = self._clock.elapsed_us() - passage.attempt_started_us
        with self._journal.together():  # the failure frees what the end charges
            try:
                self._events.failed(passage, failure, elapsed_us, is_settled_later=True)
            except LogUnavailableError:
                self._capture.ended(passage)
                self._journal.owe(passage.stream, ended())
                raise
            end = ended()
            durable = self._events.ended(passage, end)
        await self._until_settled(passage, end, durable)

    async def _end(self, passage: Passage, end: Event) -> None:
        await self._until_settled(passage, end, self._events.ended(passage, end))

    async def _until_settled(self, passage: Passage, end: Event, durable: "asyncio.Future[None]") -> None:
        if not self._durability.awaits_settlement:
            return
        try:
            await self._journal.settled(durable)
        except LogUnavailableError:
            self._journal.owe(passage.stream, end)
            raise

    def _upstream_returned(self, passage: Passage) -> int:
        elapsed_us = self._clock.elapsed_us() - passage.attempt_started_us
        passage.upstream_us += elapsed_us
        return elapsed_us

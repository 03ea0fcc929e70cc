"""The straight line of one request: gather, decide, record, attempt, settle.

Between reading the state and recording what was decided from it there is no await, so a burst of requests
sees each other's reservations and no two of them decide from the same state.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import msgspec

from apikeyrouter.application.durability import Durability
from apikeyrouter.application.journal import Journal, unavailable
from apikeyrouter.application.learning import Learning
from apikeyrouter.application.passage import Order, Passage
from apikeyrouter.application.ports import Clock, Entropy, Vault
from apikeyrouter.application.providers import ProviderRegistry
from apikeyrouter.application.refusals import provider_error, refusal
from apikeyrouter.application.routed_stream import RoutedStream
from apikeyrouter.application.upkeep import Upkeep
from apikeyrouter.application.waiting import Taken, WaitingRoom
from apikeyrouter.domain import deferral, settlement
from apikeyrouter.domain.events import (
    Event,
    EventRef,
    NewEvent,
    RequestFailed,
    RequestReleased,
    RouteDecided,
    RouteDeferred,
    RouteRefused,
    request_stream,
)
from apikeyrouter.domain.failures import AttemptFailedError, Failure, FailureClass, KeyEffect, NextTry
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
    ShuttingDownError,
)
from apikeyrouter.domain.questions import RouteQuestion
from apikeyrouter.domain.rate_limits import RateLimitReport
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
        self._upkeep = Upkeep(journal)
        self._learning = Learning(journal)
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
                self._learn(passage, answer.limits)
                return answer

    async def _next_decision(self, passage: Passage) -> RouteDecided:
        """Decide, record, and wait until the record is durable: only then may the key be used."""
        decision, durable = self._decide(passage)
        while isinstance(decision, RouteDeferred):
            decision, durable = await self._await_turn(passage, decision)
        if isinstance(decision, RouteRefused):
            await self._journal.settled(durable)
            raise refusal(passage, decision)
        if self._durability.awaits_decision_before_call:
            await self._journal.settled(durable)
        passage.attempt_started_us = self._clock.elapsed_us()
        passage.is_calling = True
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

    def _decide(
        self, passage: Passage
    ) -> tuple[RouteDecided | RouteRefused | RouteDeferred, "asyncio.Future[None]"]:
        """Choose a key and record that, or record that there is none: not now, or not at all."""
        question = self._question(passage)
        decision = decide(self._journal.state, question)
        wait_us = self._wait_allowed_us(passage)
        passage.deferred = None
        if wait_us and isinstance(decision, RouteRefused):
            passage.deferred = deferral.until_capacity(self._journal.state, decision, wait_us)
        elif wait_us and self._waiting.is_queued(question.facts):
            passage.deferred = deferral.behind_others(question, wait_us)
        elif isinstance(decision, RouteDecided):
            return decision, self._admit(passage, decision)
        outcome = passage.deferred or decision
        return outcome, self._record(passage, outcome)

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
        durable = self._record(passage, decision)
        provider = self._journal.state.providers[decision.chosen.provider_id]
        passage.attempt += 1
        passage.is_calling = False
        passage.decision = decision
        passage.decided = durable
        passage.offer = provider.models.get(decision.facts.model)
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
        self._record_failure(passage, failure, self._upstream_returned(passage))
        if self._may_go_on(passage, failure):
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

    def _may_go_on(self, passage: Passage, failure: Failure) -> bool:
        """Tell whether somebody else may be asked: not when a provider has said twice that it cannot."""
        if not failure.handling.another_key or passage.attempt >= self._max_attempts:
            return False
        elsewhere = failure.handling.next_try is NextTry.AnotherProvider
        its_fault = failure.handling.blames_provider
        provider_id = passage.chosen.chosen.provider_id
        return its_fault or not elsewhere or passage.avoided.count(provider_id) < 2

    async def break_off(
        self, passage: Passage, failure: Failure, usage: Usage | None, response_bytes: int
    ) -> None:
        """End a stream that broke: text has reached the client, so no other key is asked."""
        ended = settlement.broken_off(
            passage.chosen,
            passage.offer,
            failure,
            usage,
            at_us=self._clock.now_us(),
            response_bytes=response_bytes,
        )
        try:
            self._record_failure(passage, failure, self._clock.elapsed_us() - passage.attempt_started_us)
        except LogUnavailableError:
            self._journal.owe(passage.stream, ended)
            raise
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
            if passage.decision is not None:
                evidence = EventRef(passage.stream, passage.version)
                self._upkeep.released(passage.chosen.chosen.key_id, at_us=end.at_us, evidence=evidence)
        except LogUnavailableError:
            self._journal.owe(passage.stream, end)

    # --- what becomes of keys ------------------------------------------------------------------------

    def _record_failure(self, passage: Passage, failure: Failure, elapsed_us: int) -> None:
        at_us = self._clock.now_us()
        key_id = passage.chosen.chosen.key_id
        known = self._journal.state.open_requests.get(passage.stream)
        before = self._journal.state.keys[key_id]
        failed = settlement.attempt_failed(passage.chosen, failure, at_us=at_us, elapsed_us=elapsed_us)
        try:
            self._record(passage, failed)
        except LogUnavailableError:
            self._journal.owe(passage.stream, failed)
            raise
        self._remember(passage, failure)
        if known is not None:
            evidence = EventRef(passage.stream, passage.version)
            used = known.material_version
            self._upkeep.attempt_failed(
                before, failure, at_us=at_us, evidence=evidence, material_version=used
            )
            self._upkeep.released(key_id, at_us=at_us, evidence=evidence)
            self._learning.refused(key_id, passage.chosen.facts.model, failure, at_us, evidence)

    def _learn(self, passage: Passage, limits: tuple[RateLimitReport, ...]) -> None:
        if not limits:
            return
        chosen, evidence = passage.chosen.chosen, EventRef(passage.stream, passage.version)
        model = passage.chosen.facts.model
        with suppress(
            LogUnavailableError
        ):  # the settlement that follows will meet the same, and is owed then
            self._learning.answered(chosen.key_id, model, limits, self._clock.now_us(), evidence)

    def _remember(self, passage: Passage, failure: Failure) -> None:
        """Note whom not to ask again for this request."""
        chosen = passage.chosen.chosen
        passage.last_failure = failure
        if failure.handling.next_try is NextTry.AnotherProvider:
            passage.avoided = (*passage.avoided, chosen.provider_id)
        again = failure.handling.next_try is NextTry.SameKey and chosen.key_id not in passage.retried
        rests = failure.handling.effect is KeyEffect.Throttle and self._wait_allowed_us(passage) > 0
        if again or rests:
            passage.retried = (*passage.retried, chosen.key_id)
        else:
            passage.tried = (*passage.tried, chosen.key_id)

    # --- recording -----------------------------------------------------------------------------------

    async def _end(self, passage: Passage, end: Event) -> None:
        """Record the last event of a request, owing it to the log if the log fails now."""
        try:
            durable = self._record(passage, end)
            if not isinstance(end, RequestFailed):
                self._served(passage)
            if self._durability.awaits_settlement:
                await self._journal.settled(durable)
        except LogUnavailableError:
            self._journal.owe(passage.stream, end)
            raise

    def _served(self, passage: Passage) -> None:
        key_id, at_us = passage.chosen.chosen.key_id, self._clock.now_us()
        evidence = EventRef(passage.stream, passage.version)
        self._upkeep.served(key_id, at_us=at_us, evidence=evidence)
        self._upkeep.released(key_id, at_us=at_us, evidence=evidence)

    def _record(self, passage: Passage, event: Event) -> asyncio.Future[None]:
        known = self._journal.state.open_requests.get(passage.stream)
        if known is None and passage.version:
            raise unavailable()  # what this request had recorded was lost with a failed append
        version = 1 if known is None else known.version + 1
        durable = self._journal.record((NewEvent(passage.stream, version, event),))
        passage.version = version
        return durable

    def _upstream_returned(self, passage: Passage) -> int:
        elapsed_us = self._clock.elapsed_us() - passage.attempt_started_us
        passage.upstream_us += elapsed_us
        return elapsed_us

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
        if left or isinstance(error, LogUnavailableError | ShuttingDownError):
            trigger = "client_left" if left else getattr(error, "code", "")
            return RequestReleased(at_us=at_us, attempt=passage.attempt, key_id=called or "", trigger=trigger)
        return RequestFailed(at_us=at_us, attempts=passage.attempt, failure="internal_error", status=500)

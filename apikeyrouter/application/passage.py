"""One request on its way: what was ordered, and how far it has come."""

import asyncio

import msgspec

from apikeyrouter.domain.events import Policy, RequestFacts, RouteDecided, RouteDeferred
from apikeyrouter.domain.failures import Failure, KeyEffect, NextTry
from apikeyrouter.domain.offered import OfferedModel


class Order(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A request as an interface hands it in: facts for the decision, and the body to be sent."""

    facts: RequestFacts
    policy: Policy
    body: bytes


class Passage(msgspec.Struct, kw_only=True):
    """A request's way through the line; `version` is that of its last event. Durations in microseconds.

    `answer` is what was seen of it: whole, or of a stream whose client has its bodies kept.
    """

    request_id: str
    stream: str
    order: Order
    started_us: int
    version: int = 0
    attempt: int = 0
    tried: tuple[str, ...] = ()
    retried: tuple[str, ...] = ()
    avoided: tuple[str, ...] = ()
    queued_us: int = 0
    deferred: RouteDeferred | None = None
    is_calling: bool = False
    attempt_started_us: int = 0
    first_byte_us: int = 0
    upstream_us: int = 0
    elapsed_us: int = 0
    decision: RouteDecided | None = None
    decided: asyncio.Future[None] | None = None
    offer: OfferedModel | None = None
    last_failure: Failure | None = None
    cost_nano_usd: int | None = None
    answer: bytes | bytearray | None = None
    answer_is_cut: bool = False

    @property
    def chosen(self) -> RouteDecided:
        """The decision that the current attempt is made on."""
        assert self.decision is not None  # noqa: S101 - no attempt is made before a decision
        return self.decision

    def remember(self, failure: Failure, *, may_rest: bool) -> None:
        """Note whom not to ask again; a key that rests may be asked later, if the request may wait for it."""
        chosen, handling = self.chosen.chosen, failure.handling
        self.last_failure = failure
        if handling.next_try is NextTry.AnotherProvider:
            self.avoided = (*self.avoided, chosen.provider_id)
        again = handling.next_try is NextTry.SameKey and chosen.key_id not in self.retried
        if again or (may_rest and handling.effect is KeyEffect.Throttle):
            self.retried = (*self.retried, chosen.key_id)
        else:
            self.tried = (*self.tried, chosen.key_id)

    def may_ask_another(self, failure: Failure, most_attempts: int) -> bool:
        """Tell whether somebody else may be asked: not when a provider has said twice that it cannot."""
        if not failure.handling.another_key or self.attempt >= most_attempts:
            return False
        elsewhere = failure.handling.next_try is NextTry.AnotherProvider
        its_fault = failure.handling.blames_provider
        return its_fault or not elsewhere or self.avoided.count(self.chosen.chosen.provider_id) < 2

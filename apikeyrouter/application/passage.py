"""One request on its way: what was ordered, and how far it has come."""

import asyncio

import msgspec

from apikeyrouter.domain.events import ModelOffer, Policy, RequestFacts, RouteDecided, RouteDeferred
from apikeyrouter.domain.failures import Failure


class Order(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A request as an interface hands it in: facts for the decision, and the body to be sent."""

    facts: RequestFacts
    policy: Policy
    body: bytes


class Passage(msgspec.Struct, kw_only=True):
    """A request's way through the line; `version` is that of its last event. Durations in microseconds."""

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
    offer: ModelOffer | None = None
    last_failure: Failure | None = None
    cost_nano_usd: int | None = None

    @property
    def chosen(self) -> RouteDecided:
        """The decision that the current attempt is made on."""
        assert self.decision is not None  # noqa: S101 - no attempt is made before a decision
        return self.decision

"""Shapes that the log still holds though nothing writes them any more, each with the way to today's shape."""

from collections.abc import Callable
from typing import Any

import msgspec

from apikeyrouter.domain.events import (
    AttemptFailed,
    Candidate,
    Event,
    Exclusion,
    Policy,
    RequestCancelled,
    RequestCompleted,
    RequestFacts,
    RequestFailed,
    RequestReleased,
    RouteDecided,
    RouteDeferred,
    RouteRefused,
)

FIRST_RULES = 1


class RouteDecidedV1(Event, frozen=True, kw_only=True):
    """A choice by the first rules, which knew no quotas."""

    as_of: int
    seed: int
    attempt: int
    facts: RequestFacts
    policy: Policy
    chosen: Candidate
    others: tuple[Candidate, ...] = ()
    eligible: int
    excluded: dict[str, int] = msgspec.field(default_factory=dict)
    exclusions: tuple[Exclusion, ...] = ()
    tried: tuple[str, ...] = ()


class RouteRefusedV1(Event, frozen=True, kw_only=True, gc=False):
    """A refusal by the first rules."""

    as_of: int
    seed: int
    attempt: int
    facts: RequestFacts
    policy: Policy
    reason: str
    retry_at_us: int | None = None
    excluded: dict[str, int] = msgspec.field(default_factory=dict)
    exclusions: tuple[Exclusion, ...] = ()
    tried: tuple[str, ...] = ()


class AttemptFailedV1(Event, frozen=True, kw_only=True, gc=False):
    """A failed call from before the health of providers was told from that of keys."""

    attempt: int
    key_id: str
    provider_id: str
    failure: str
    effect: str
    status: int | None = None
    code: str | None = None
    retry_after_us: int | None = None
    elapsed_us: int
    sent: bool = True


class RequestCompletedV1(Event, frozen=True, kw_only=True, gc=False):
    """A settlement that did not tell by which prices."""

    attempt: int
    key_id: str
    provider_id: str
    model: str
    input_tokens: int
    output_tokens: int
    usage_source: str
    cost_nano_usd: int | None = None
    finish_reason: str | None = None
    elapsed_us: int
    first_byte_us: int
    response_bytes: int
    response_sha256: str
    upstream_request_id: str | None = None


class RequestFailedV1(Event, frozen=True, kw_only=True, gc=False):
    """A failure whose cost, if any, did not tell by which prices."""

    attempts: int
    failure: str
    status: int
    input_tokens: int = 0
    output_tokens: int = 0
    usage_source: str = "none"
    cost_nano_usd: int | None = 0
    response_bytes: int = 0


class RequestCancelledV1(Event, frozen=True, kw_only=True, gc=False):
    """A client that left, settled without telling by which prices."""

    attempt: int
    key_id: str
    provider_id: str
    phase: str
    input_tokens: int
    output_tokens: int
    usage_source: str
    cost_nano_usd: int | None = None
    elapsed_us: int
    response_bytes: int


def _decided(event: RouteDecidedV1) -> RouteDecided:
    return RouteDecided(rules=FIRST_RULES, **_fields(event))


def _refused(event: RouteRefusedV1) -> RouteRefused:
    return RouteRefused(rules=FIRST_RULES, **_fields(event))


def _attempt_failed(event: AttemptFailedV1) -> AttemptFailed:
    return AttemptFailed(**_fields(event))


def _completed(event: RequestCompletedV1) -> RequestCompleted:
    return RequestCompleted(**_fields(event))


def _failed(event: RequestFailedV1) -> RequestFailed:
    return RequestFailed(**_fields(event))


def _cancelled(event: RequestCancelledV1) -> RequestCancelled:
    return RequestCancelled(**_fields(event))


def _as_it_is(event: Event) -> Event:
    """Return an event whose later shape only has more fields, none of which it can have had."""
    return event


def _fields(event: Event) -> dict[str, Any]:
    return msgspec.structs.asdict(event)


FORMER_TYPES: dict[str, tuple[type[Event], Callable[[Any], Event]]] = {
    "request.decided.v1": (RouteDecidedV1, _decided),
    "request.refused.v1": (RouteRefusedV1, _refused),
    "request.attempt_failed.v1": (AttemptFailedV1, _attempt_failed),
    "request.completed.v1": (RequestCompletedV1, _completed),
    "request.failed.v1": (RequestFailedV1, _failed),
    "request.cancelled.v1": (RequestCancelledV1, _cancelled),
    "request.released.v1": (RequestReleased, _as_it_is),
    "request.deferred.v1": (RouteDeferred, _as_it_is),
    "request.decided.v2": (RouteDecided, _as_it_is),
    "request.refused.v2": (RouteRefused, _as_it_is),
    "request.attempt_failed.v2": (AttemptFailed, _as_it_is),
}

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
    RequestFacts,
    RouteDecided,
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


def _decided(event: RouteDecidedV1) -> RouteDecided:
    return RouteDecided(rules=FIRST_RULES, **_fields(event))


def _refused(event: RouteRefusedV1) -> RouteRefused:
    return RouteRefused(rules=FIRST_RULES, **_fields(event))


def _attempt_failed(event: AttemptFailedV1) -> AttemptFailed:
    return AttemptFailed(**_fields(event))


def _fields(event: Event) -> dict[str, Any]:
    return msgspec.structs.asdict(event)


FORMER_TYPES: dict[str, tuple[type[Event], Callable[[Any], Event]]] = {
    "request.decided.v1": (RouteDecidedV1, _decided),
    "request.refused.v1": (RouteRefusedV1, _refused),
    "request.attempt_failed.v1": (AttemptFailedV1, _attempt_failed),
}

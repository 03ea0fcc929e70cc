"""The vocabulary: every fact that the log can hold, frozen, and named once for ever.

An event's shape never changes. A new shape is a new class with the next version in `EVENT_TYPES`.
Times are microseconds since the Unix epoch (UTC), durations microseconds, money nano-USD, all integers.
"""

from typing import NamedTuple

import msgspec

from apikeyrouter.domain.vocabulary.budgets import (
    BudgetAlerted,
    BudgetClosed,
    BudgetOpened,
    BudgetTerms,
    BudgetTermsSet,
    BudgetToppedUp,
)
from apikeyrouter.domain.vocabulary.catalogue import (
    ModelOffer,
    ModelsEquated,
    PriceBookAdopted,
    Prices,
    PriceSet,
    ProviderRegistered,
)
from apikeyrouter.domain.vocabulary.decisions import (
    ALL_ROOM,
    NO_DANGER,
    AttemptFailed,
    Candidate,
    Exclusion,
    Policy,
    RequestFacts,
    Reserved,
    RouteDecided,
    RouteDeferred,
    RouteRefused,
    Shortfall,
)
from apikeyrouter.domain.vocabulary.endings import (
    Consumption,
    RequestCancelled,
    RequestCompleted,
    RequestFailed,
    RequestReleased,
)
from apikeyrouter.domain.vocabulary.health import (
    ProviderHealthChanged,
)
from apikeyrouter.domain.vocabulary.keys import (
    KeyMaterialRotated,
    KeyMetadataChanged,
    KeyPinned,
    KeyRegistered,
    KeyRevoked,
    KeyStateChanged,
)
from apikeyrouter.domain.vocabulary.leases import (
    BudgetSpentOutside,
    BudgetWindowOpened,
    LeaseClosed,
    LeaseDenied,
    LeaseExpired,
    LeaseGranted,
    LeaseRecalled,
    LeaseReclaimed,
    LeaseRenewed,
    LeaseReturned,
    LeaseWanted,
)
from apikeyrouter.domain.vocabulary.node import (
    ClockSteppedBack,
    LogRecovered,
    NodeStarted,
    NodeStopped,
)
from apikeyrouter.domain.vocabulary.payloads import (
    CaptureSet,
    DoomedSubject,
    ErasureRefused,
    ErasureStarted,
    PayloadCaptured,
    PayloadLost,
    PayloadRead,
    PayloadsExpired,
    SealedPart,
    SubjectErased,
)
from apikeyrouter.domain.vocabulary.quotas import (
    QuotaCorrected,
    QuotaLimitLearned,
)
from apikeyrouter.domain.vocabulary.retention import (
    LegalHoldPlaced,
    LegalHoldReleased,
    RetentionSet,
    SegmentDropped,
    SegmentRemoved,
    StateRefolded,
)
from apikeyrouter.domain.vocabulary.shape import (
    Event,
    EventRef,
    Metadata,
)

__all__ = [
    "ALL_ROOM",
    "CATALOGUE_STREAM",
    "EVENT_NAMES",
    "EVENT_TYPES",
    "LOG_STREAM",
    "NO_DANGER",
    "RETENTION_STREAM",
    "AttemptFailed",
    "BudgetAlerted",
    "BudgetClosed",
    "BudgetOpened",
    "BudgetSpentOutside",
    "BudgetTerms",
    "BudgetTermsSet",
    "BudgetToppedUp",
    "BudgetWindowOpened",
    "Candidate",
    "CaptureSet",
    "ClockSteppedBack",
    "Consumption",
    "DoomedSubject",
    "ErasureRefused",
    "ErasureStarted",
    "Event",
    "EventRef",
    "Exclusion",
    "KeyMaterialRotated",
    "KeyMetadataChanged",
    "KeyPinned",
    "KeyRegistered",
    "KeyRevoked",
    "KeyStateChanged",
    "LeaseClosed",
    "LeaseDenied",
    "LeaseExpired",
    "LeaseGranted",
    "LeaseRecalled",
    "LeaseReclaimed",
    "LeaseRenewed",
    "LeaseReturned",
    "LeaseWanted",
    "LegalHoldPlaced",
    "LegalHoldReleased",
    "LogRecovered",
    "Metadata",
    "ModelOffer",
    "ModelsEquated",
    "NewEvent",
    "NodeStarted",
    "NodeStopped",
    "PayloadCaptured",
    "PayloadLost",
    "PayloadRead",
    "PayloadsExpired",
    "Policy",
    "PriceBookAdopted",
    "PriceSet",
    "Prices",
    "ProviderHealthChanged",
    "ProviderRegistered",
    "QuotaCorrected",
    "QuotaLimitLearned",
    "Recorded",
    "RequestCancelled",
    "RequestCompleted",
    "RequestFacts",
    "RequestFailed",
    "RequestReleased",
    "Reserved",
    "RetentionSet",
    "RouteDecided",
    "RouteDeferred",
    "RouteRefused",
    "SealedPart",
    "SegmentDropped",
    "SegmentRemoved",
    "Shortfall",
    "StateRefolded",
    "SubjectErased",
    "budget_stream",
    "canonical_bytes",
    "client_stream",
    "erasure_stream",
    "key_stream",
    "payload_stream",
    "provider_stream",
    "quota_stream",
    "request_stream",
]

EVENT_TYPES: dict[str, type[Event]] = {
    "key.registered.v1": KeyRegistered,
    "key.state_changed.v1": KeyStateChanged,
    "key.material_rotated.v1": KeyMaterialRotated,
    "key.metadata_changed.v1": KeyMetadataChanged,
    "key.pinned.v1": KeyPinned,
    "key.revoked.v1": KeyRevoked,
    "quota.limit_learned.v1": QuotaLimitLearned,
    "quota.corrected.v1": QuotaCorrected,
    "provider.registered.v1": ProviderRegistered,
    "price_book.adopted.v1": PriceBookAdopted,
    "price.set.v1": PriceSet,
    "models.equated.v1": ModelsEquated,
    "budget.opened.v1": BudgetOpened,
    "budget.terms_set.v1": BudgetTermsSet,
    "budget.topped_up.v1": BudgetToppedUp,
    "budget.closed.v1": BudgetClosed,
    "budget.alerted.v1": BudgetAlerted,
    "budget.window_opened.v1": BudgetWindowOpened,
    "budget.spent_outside.v1": BudgetSpentOutside,
    "lease.wanted.v1": LeaseWanted,
    "lease.granted.v1": LeaseGranted,
    "lease.denied.v1": LeaseDenied,
    "lease.recalled.v1": LeaseRecalled,
    "lease.returned.v1": LeaseReturned,
    "lease.renewed.v1": LeaseRenewed,
    "lease.closed.v1": LeaseClosed,
    "lease.expired.v1": LeaseExpired,
    "lease.reclaimed.v1": LeaseReclaimed,
    "provider.health_changed.v1": ProviderHealthChanged,
    "request.decided.v3": RouteDecided,
    "request.refused.v3": RouteRefused,
    "request.deferred.v2": RouteDeferred,
    "request.attempt_failed.v3": AttemptFailed,
    "request.completed.v2": RequestCompleted,
    "request.failed.v2": RequestFailed,
    "request.cancelled.v2": RequestCancelled,
    "request.released.v2": RequestReleased,
    "node.started.v1": NodeStarted,
    "node.stopped.v1": NodeStopped,
    "log.recovered.v1": LogRecovered,
    "clock.stepped_back.v1": ClockSteppedBack,
    "retention.set.v1": RetentionSet,
    "hold.placed.v1": LegalHoldPlaced,
    "hold.released.v1": LegalHoldReleased,
    "segment.dropped.v1": SegmentDropped,
    "segment.removed.v1": SegmentRemoved,
    "state.refolded.v1": StateRefolded,
    "client.capture_set.v1": CaptureSet,
    "payload.captured.v1": PayloadCaptured,
    "payload.lost.v1": PayloadLost,
    "payload.read.v1": PayloadRead,
    "payload.expired.v1": PayloadsExpired,
    "erasure.started.v1": ErasureStarted,
    "erasure.refused.v1": ErasureRefused,
    "subject.erased.v1": SubjectErased,
}

EVENT_NAMES: dict[type[Event], str] = {event_type: name for name, event_type in EVENT_TYPES.items()}

canonical_bytes = msgspec.json.Encoder(order="deterministic").encode
"""Encode an event; the same event gives the same bytes on every machine."""

CATALOGUE_STREAM = "catalogue"
LOG_STREAM = "log"
RETENTION_STREAM = "retention"


def key_stream(key_id: str) -> str:
    """Name the stream of a key."""
    return f"key-{key_id}"


def quota_stream(account: str) -> str:
    """Name the stream of a quota's account."""
    return f"quota-{account}"


def budget_stream(budget_id: str) -> str:
    """Name the stream of a budget; its account has the same name."""
    return f"budget-{budget_id}"


def provider_stream(provider_id: str) -> str:
    """Name the stream of a provider's health."""
    return f"provider-{provider_id}"


def request_stream(request_id: str) -> str:
    """Name the stream of a request."""
    return f"request-{request_id}"


def client_stream(client_id: str) -> str:
    """Name the stream of what administrators say of a client."""
    return f"client-{client_id}"


def payload_stream(request_id: str) -> str:
    """Name the stream of the bodies of a request."""
    return f"payload-{request_id}"


def erasure_stream(erasure_id: str) -> str:
    """Name the stream of an erasure."""
    return f"erasure-{erasure_id}"


class NewEvent(NamedTuple):
    """An event on its way into the log: its place in its stream is decided, its position is not."""

    stream: str
    version: int
    event: Event


class Recorded(NamedTuple):
    """An event with its place: the global position, the stream, the version in that stream."""

    position: int
    stream: str
    version: int
    event: Event

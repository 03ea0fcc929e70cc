"""The vocabulary: every fact that the log can hold, frozen, and named once for ever.

An event's shape never changes. A new shape is a new class with the next version in `EVENT_TYPES`.
Times are microseconds since the Unix epoch (UTC), durations microseconds, money nano-USD, all integers.
"""

from typing import NamedTuple

import msgspec

Metadata = dict[str, str | int | float | bool | list[str] | None]


class EventRef(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where an event stands: its stream and its version in it. The currency of evidence."""

    stream: str
    version: int


class Event(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True, forbid_unknown_fields=True
):
    """What every event carries: the instant at which it was decided."""

    at_us: int


# --- keys: stream key-<id> ---------------------------------------------------------------------------


class KeyRegistered(Event, frozen=True, kw_only=True, gc=False):
    """A key was sealed into the vault and may now be chosen."""

    actor: str
    provider_id: str
    fingerprint: str
    metadata: Metadata = {}


class KeyStateChanged(Event, frozen=True, kw_only=True, gc=False):
    """A key moved from one state to another; `until_us` is when a timed state ends by itself."""

    actor: str
    from_state: str
    to_state: str
    trigger: str
    until_us: int | None = None
    evidence: tuple[EventRef, ...] = ()


class KeyMaterialRotated(Event, frozen=True, kw_only=True, gc=False):
    """The secret behind a key id was replaced; identity, history and limits stay."""

    actor: str
    fingerprint: str


class KeyMetadataChanged(Event, frozen=True, kw_only=True, gc=False):
    """An administrator declared anew what is known of a key: its limits among it."""

    actor: str
    metadata: Metadata


class KeyPinned(Event, frozen=True, kw_only=True, gc=False):
    """A key was preferred to all that are not pinned, or is no longer."""

    actor: str
    pinned: bool


class KeyRevoked(Event, frozen=True, kw_only=True, gc=False):
    """A key left for ever; its material was destroyed."""

    actor: str
    reason: str


# --- quotas: stream quota-<account> ------------------------------------------------------------------


class QuotaLimitLearned(Event, frozen=True, kw_only=True, gc=False):
    """A limit that nobody had declared, or another than was believed, came from the provider.

    `source` says how it is known: from the headers of an answer, or guessed from refusals; `kind` how its
    window turned out to run, where that was seen.
    """

    key_id: str
    dimension: str
    unit: str
    limit: int
    models: tuple[str, ...] | None = None
    kind: str | None = None
    source: str
    evidence: tuple[EventRef, ...] = ()


class QuotaCorrected(Event, frozen=True, kw_only=True, gc=False):
    """The provider says that less remains than was believed: somebody else uses the key as well."""

    account: str
    remaining: int
    until_us: int | None = None
    evidence: tuple[EventRef, ...] = ()


# --- catalogue: stream catalogue ---------------------------------------------------------------------


class ModelOffer(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One model as a provider sells it. Prices are nano-USD per million tokens; None is unknown."""

    model: str
    input_nano_usd_per_mtok: int | None = None
    output_nano_usd_per_mtok: int | None = None
    quality: float = 0.5
    capabilities: tuple[str, ...] | None = None
    max_output_tokens: int | None = None


class ProviderRegistered(Event, frozen=True, kw_only=True, gc=False):
    """A provider can be routed to. No models listed means: the upstream alone knows what it serves."""

    actor: str
    provider_id: str
    kind: str
    base_url: str | None = None
    models: tuple[ModelOffer, ...] = ()


# --- prices: stream catalogue --------------------------------------------------------------------------


class Prices(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What a million of each costs, in nano-USD; `request` is a million requests, all others are tokens.

    A part without a price of its own costs what the whole does: cached input what input does.
    """

    input: int | None = None
    output: int | None = None
    cached_input: int | None = None
    cache_write: int | None = None
    audio_input: int | None = None
    image_input: int | None = None
    reasoning: int | None = None
    audio_output: int | None = None
    image_output: int | None = None
    request: int | None = None


class PriceBookAdopted(Event, frozen=True, kw_only=True, gc=False):
    """A book of prices is in force from here on. It is here whole, for what it was taken from may change.

    `content` is the book's JSON, deflated by zlib, in base64; `sha256` is that of the JSON.
    """

    actor: str
    source: str
    source_version: str
    sha256: str
    models: int
    content: str


class PriceSet(Event, frozen=True, kw_only=True, gc=False):
    """An administrator set the price of a model at a provider, above all lists and books, or withdrew it."""

    actor: str
    provider_id: str
    model: str
    prices_nano_usd_per_million: Prices | None = None


# --- health of providers: stream provider-<id> -------------------------------------------------------


class ProviderHealthChanged(Event, frozen=True, kw_only=True, gc=False):
    """A provider moved from one health to another; `until_us` is when it is tried again."""

    actor: str
    provider_id: str
    from_health: str
    to_health: str
    trigger: str
    until_us: int | None = None
    evidence: tuple[EventRef, ...] = ()


# --- requests: stream request-<id> -------------------------------------------------------------------


class RequestFacts(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What a request asked for, as far as routing may know it: sizes and hashes, never contents."""

    operation: str
    model: str
    provider_id: str | None = None
    stream: bool = False
    needs: tuple[str, ...] = ()
    input_tokens_bound: int = 0
    output_tokens_bound: int = 0
    body_bytes: int = 0
    body_sha256: str = ""
    client_id: str | None = None
    correlation_id: str | None = None


class Policy(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """An objective made explicit: weights of the criteria, and constraints that exclude."""

    objective: str
    cost: float = 0.0
    reliability: float = 0.0
    fairness: float = 0.0
    latency: float = 0.0
    quality: float = 0.0
    headroom: float = 0.0
    max_cost_nano_usd: int | None = None
    max_latency_us: int | None = None
    min_reliability: float | None = None
    min_quality: float | None = None
    providers: tuple[str, ...] | None = None
    excluded_providers: tuple[str, ...] = ()


ALL_ROOM, NO_DANGER = 1.0, 0.0
"""What a candidate without quotas has. Not written: msgspec leaves a default out if it is the very object."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One key as the decision saw it: the scores, each in [0, 1], and the events they came from.

    `exhaustion` is the probability that its tightest quota runs out before it is given back.
    """

    key_id: str
    provider_id: str
    total: float
    cost: float
    reliability: float
    fairness: float
    latency: float
    quality: float
    headroom: float = ALL_ROOM
    exhaustion: float = NO_DANGER
    in_flight: int
    cost_bound_nano_usd: int | None = None
    state_ref: EventRef
    offer_ref: EventRef
    load_ref: EventRef | None = None
    outcome_ref: EventRef | None = None
    quota_ref: EventRef | None = None


class Exclusion(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A key that was not eligible: the first rule that refused it, and the event behind the refusal."""

    key_id: str
    rule: str
    evidence: EventRef


class Reserved(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A share of an account that is held for a request until its consumption is known."""

    account: str
    amount: int


class RouteDecided(Event, frozen=True, kw_only=True, gc=False):
    """A key was chosen, and its share of load and quotas reserved, before any call was made.

    `as_of` is the log position that the state stood at; `excluded` counts refused keys by rule, those
    spared in favour of others included. `rules` is the version of the rules that decided.
    """

    rules: int
    as_of: int
    seed: int
    attempt: int
    facts: RequestFacts
    policy: Policy
    chosen: Candidate
    others: tuple[Candidate, ...] = ()
    eligible: int
    excluded: dict[str, int] = {}
    exclusions: tuple[Exclusion, ...] = ()
    tried: tuple[str, ...] = ()
    avoided: tuple[str, ...] = ()
    reserved: tuple[Reserved, ...] = ()


class RouteRefused(Event, frozen=True, kw_only=True, gc=False):
    """No key was eligible: the same record as a decision, without a choice.

    `retry_at_us` is when, as far as is known, the request could be served.
    """

    rules: int
    as_of: int
    seed: int
    attempt: int
    facts: RequestFacts
    policy: Policy
    reason: str
    retry_at_us: int | None = None
    excluded: dict[str, int] = {}
    exclusions: tuple[Exclusion, ...] = ()
    tried: tuple[str, ...] = ()
    avoided: tuple[str, ...] = ()


class RouteDeferred(Event, frozen=True, kw_only=True, gc=False):
    """No key was free, and the request waits for one until `wait_until_us`, at most.

    `retry_at_us` is when one is expected; with `reason` "behind_others" it only keeps its place in the queue.
    """

    attempt: int
    facts: RequestFacts
    reason: str
    retry_at_us: int | None = None
    wait_until_us: int
    excluded: dict[str, int] = {}
    exclusions: tuple[Exclusion, ...] = ()


class AttemptFailed(Event, frozen=True, kw_only=True, gc=False):
    """One upstream call did not succeed. `sent` is false when nothing can have reached the provider.

    `effect` is what the failure meant for the key when it happened, and `blames_provider` whether it
    counts against the provider, so that folds never consult a table that may have changed since.
    """

    attempt: int
    key_id: str
    provider_id: str
    failure: str
    effect: str
    blames_provider: bool = False
    status: int | None = None
    code: str | None = None
    retry_after_us: int | None = None
    elapsed_us: int
    sent: bool = True


class Consumption(Event, frozen=True, kw_only=True, gc=False):
    """What every settlement tells beside its whole counts: parts with prices of their own, and the prices.

    Parts are counted within the input and the output that they belong to. `price_source` is who said the
    prices: "administrator", "offer" or "book", and `price_book` the hash of that book.
    """

    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    audio_input_tokens: int = 0
    image_input_tokens: int = 0
    reasoning_tokens: int = 0
    audio_output_tokens: int = 0
    image_output_tokens: int = 0
    prices_nano_usd_per_million: Prices | None = None
    price_source: str | None = None
    price_book: str | None = None


class RequestCompleted(Consumption, frozen=True, kw_only=True, gc=False):
    """The settlement: what was consumed and what it cost. `cost_nano_usd` None: no price is known."""

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


class RequestFailed(Consumption, frozen=True, kw_only=True, gc=False):
    """The request ended without a whole answer; the last attempt's failure tells why.

    Tokens and cost are not zero where a stream broke after text had been produced.
    """

    attempts: int
    failure: str
    status: int
    input_tokens: int = 0
    output_tokens: int = 0
    usage_source: str = "none"
    cost_nano_usd: int | None = 0
    response_bytes: int = 0


class RequestCancelled(Consumption, frozen=True, kw_only=True, gc=False):
    """The client left. What was produced by then is settled, measured or bounded."""

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


class RequestReleased(Event, frozen=True, kw_only=True, gc=False):
    """Recovery closed a request whose process died: its reservation is free, its outcome unknown."""

    attempt: int
    key_id: str
    trigger: str


# --- the log itself: stream log ----------------------------------------------------------------------


class NodeStarted(Event, frozen=True, kw_only=True, gc=False):
    """A process opened the log for writing."""

    node_id: str
    version: str


class NodeStopped(Event, frozen=True, kw_only=True, gc=False):
    """A process closed the log in good order."""

    node_id: str


class LogRecovered(Event, frozen=True, kw_only=True, gc=False):
    """Appending works again after an outage during which every request was refused."""

    node_id: str
    outage_us: int


class ClockSteppedBack(Event, frozen=True, kw_only=True, gc=False):
    """The wall clock was set back: what follows bears earlier times than what came before.

    `at_us` is the latest time that counted before, at which windows and rests stand still for a while.
    """

    node_id: str
    by_us: int


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
    "provider.health_changed.v1": ProviderHealthChanged,
    "request.decided.v2": RouteDecided,
    "request.refused.v2": RouteRefused,
    "request.deferred.v1": RouteDeferred,
    "request.attempt_failed.v2": AttemptFailed,
    "request.completed.v2": RequestCompleted,
    "request.failed.v2": RequestFailed,
    "request.cancelled.v2": RequestCancelled,
    "request.released.v1": RequestReleased,
    "node.started.v1": NodeStarted,
    "node.stopped.v1": NodeStopped,
    "log.recovered.v1": LogRecovered,
    "clock.stepped_back.v1": ClockSteppedBack,
}

EVENT_NAMES: dict[type[Event], str] = {event_type: name for name, event_type in EVENT_TYPES.items()}

canonical_bytes = msgspec.json.Encoder(order="deterministic").encode
"""Encode an event; the same event gives the same bytes on every machine."""

CATALOGUE_STREAM = "catalogue"
LOG_STREAM = "log"


def key_stream(key_id: str) -> str:
    """Name the stream of a key."""
    return f"key-{key_id}"


def quota_stream(account: str) -> str:
    """Name the stream of a quota's account."""
    return f"quota-{account}"


def provider_stream(provider_id: str) -> str:
    """Name the stream of a provider's health."""
    return f"provider-{provider_id}"


def request_stream(request_id: str) -> str:
    """Name the stream of a request."""
    return f"request-{request_id}"


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

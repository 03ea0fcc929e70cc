"""Answer why a request went where it went, from its own stream and the events that it refers to."""

from collections.abc import Iterator
from typing import Any

import msgspec

from apikeyrouter.application.ports import EventReader
from apikeyrouter.domain.events import (
    EVENT_NAMES,
    Candidate,
    EventRef,
    KeyMetadataChanged,
    KeyRegistered,
    Metadata,
    Recorded,
    RouteDecided,
    RouteDeferred,
    RouteRefused,
    budget_stream,
    key_stream,
    provider_stream,
    quota_stream,
    request_stream,
)
from apikeyrouter.domain.explanation import consequence, explain
from apikeyrouter.domain.models.system_error import NotFoundError
from apikeyrouter.domain.quota_limits import QUOTA_DIMENSIONS, QUOTA_UNITS, scope_of

Decision = RouteDecided | RouteRefused | RouteDeferred


class Trail(msgspec.Struct, frozen=True, kw_only=True):
    """All that the log says of one request: a sentence a decision, the events, and the evidence.

    `consequences` are the events of keys, providers and quotas that name this request as their evidence.
    """

    request_id: str
    sentences: tuple[str, ...]
    events: tuple[Recorded, ...]
    consequences: tuple[Recorded, ...]
    evidence: tuple[Recorded, ...]
    missing: tuple[EventRef, ...]

    def as_data(self) -> dict[str, Any]:
        """Return the trail as JSON types."""
        return {
            "request_id": self.request_id,
            "explanation": list(self.sentences),
            "events": [event_as_data(recorded) for recorded in self.events],
            "consequences": [
                {**event_as_data(recorded), "explanation": consequence(recorded.event)}
                for recorded in self.consequences
            ],
            "evidence": [event_as_data(recorded) for recorded in self.evidence],
            "missing_evidence": [list(msgspec.to_builtins(ref)) for ref in self.missing],
        }


def event_as_data(recorded: Recorded) -> dict[str, Any]:
    """Return a recorded event as JSON types, under its stable name."""
    return {
        "position": recorded.position,
        "stream": recorded.stream,
        "version": recorded.version,
        "name": EVENT_NAMES[type(recorded.event)],
        "data": msgspec.to_builtins(recorded.event),
    }


def trail(reader: EventReader, request_id: str) -> Trail:
    """Collect a request's events and everything that its decisions refer to."""
    request_id = request_id.removeprefix("request-")
    events = reader.stream(request_stream(request_id))
    if not events:
        raise NotFoundError(f"no request has the id {request_id[:64]!r}", param="request_id")
    decisions = [e.event for e in events if isinstance(e.event, RouteDecided | RouteRefused | RouteDeferred)]
    refs = list(dict.fromkeys(ref for decision in decisions for ref in evidence_of(decision)))
    found = {ref: resolve(reader, ref) for ref in refs}
    return Trail(
        request_id=request_id,
        sentences=tuple(explain(decision) for decision in decisions),
        events=tuple(events),
        consequences=tuple(_consequences(reader, events)),
        evidence=tuple(recorded for recorded in found.values() if recorded is not None),
        missing=tuple(ref for ref, recorded in found.items() if recorded is None),
    )


def evidence_of(decision: Decision) -> Iterator[EventRef]:
    """Yield every reference that a decision makes."""
    if isinstance(decision, RouteDecided):
        for candidate in (decision.chosen, *decision.others):
            yield from _refs_of(candidate)
    for exclusion in decision.exclusions:
        yield exclusion.evidence


def resolve(reader: EventReader, ref: EventRef) -> Recorded | None:
    """Return the event that a reference names, if the log has it."""
    return next((e for e in reader.stream(ref.stream) if e.version == ref.version), None)


def _refs_of(candidate: Candidate) -> Iterator[EventRef]:
    yield candidate.state_ref
    yield candidate.offer_ref
    for ref in (candidate.load_ref, candidate.outcome_ref, candidate.quota_ref, candidate.budget_ref):
        if ref is not None:
            yield ref


def _consequences(reader: EventReader, events: list[Recorded]) -> list[Recorded]:
    """Collect what names the request as its evidence, where its calls can have left something."""
    stream = events[0].stream
    decided = [recorded.event for recorded in events if isinstance(recorded.event, RouteDecided)]
    touched = dict.fromkeys(name for decision in decided for name in _touched(reader, decision))
    found = [recorded for name in touched for recorded in reader.stream(name) if _names(recorded, stream)]
    return sorted(found, key=lambda recorded: recorded.position)


def _touched(reader: EventReader, decision: RouteDecided) -> Iterator[str]:
    chosen = decision.chosen
    yield key_stream(chosen.key_id)
    yield provider_stream(chosen.provider_id)
    yield from (_stream_of(one.account) for one in decision.reserved)
    # A limit that was not known yet held nothing for the request; it is learned for the model that was asked.
    scope = scope_of(chosen.provider_id, chosen.key_id, _metadata(reader, chosen.key_id))
    for dimension in QUOTA_DIMENSIONS:
        for unit in QUOTA_UNITS:
            yield quota_stream(scope.limit(dimension, unit, 1, (decision.model,)).account_id)


def _stream_of(account: str) -> str:
    """Name the stream of an account: that of a budget bears its name."""
    return account if account.startswith(budget_stream("")) else quota_stream(account)


def _metadata(reader: EventReader, key_id: str) -> Metadata:
    life = (recorded.event for recorded in reader.stream(key_stream(key_id)))
    declared = [event.metadata for event in life if isinstance(event, KeyRegistered | KeyMetadataChanged)]
    return declared[-1] if declared else {}


def _names(recorded: Recorded, stream: str) -> bool:
    evidence: tuple[EventRef, ...] = getattr(recorded.event, "evidence", ())
    return any(ref.stream == stream for ref in evidence)

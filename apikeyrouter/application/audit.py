"""Answer why a request went where it went, from its own stream and the events that it refers to."""

from collections.abc import Iterator
from typing import Any

import msgspec

from apikeyrouter.application.ports import EventReader
from apikeyrouter.domain.events import (
    EVENT_NAMES,
    Candidate,
    EventRef,
    Recorded,
    RouteDecided,
    RouteRefused,
    request_stream,
)
from apikeyrouter.domain.explanation import explain
from apikeyrouter.domain.models.system_error import NotFoundError


class Trail(msgspec.Struct, frozen=True, kw_only=True):
    """All that the log says of one request: a sentence a decision, the events, and the evidence."""

    request_id: str
    sentences: tuple[str, ...]
    events: tuple[Recorded, ...]
    evidence: tuple[Recorded, ...]
    missing: tuple[EventRef, ...]

    def as_data(self) -> dict[str, Any]:
        """Return the trail as JSON types."""
        return {
            "request_id": self.request_id,
            "explanation": list(self.sentences),
            "events": [event_as_data(recorded) for recorded in self.events],
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
    decisions = [e.event for e in events if isinstance(e.event, RouteDecided | RouteRefused)]
    refs = list(dict.fromkeys(ref for decision in decisions for ref in evidence_of(decision)))
    found = {ref: resolve(reader, ref) for ref in refs}
    return Trail(
        request_id=request_id,
        sentences=tuple(explain(decision) for decision in decisions),
        events=tuple(events),
        evidence=tuple(recorded for recorded in found.values() if recorded is not None),
        missing=tuple(ref for ref, recorded in found.items() if recorded is None),
    )


def evidence_of(decision: RouteDecided | RouteRefused) -> Iterator[EventRef]:
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
    if candidate.load_ref is not None:
        yield candidate.load_ref
    if candidate.outcome_ref is not None:
        yield candidate.outcome_ref

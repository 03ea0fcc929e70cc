"""Answer why a request went where it went, from its own stream and the events that it refers to."""

from collections.abc import Iterator
from typing import Any

import msgspec

from apikeyrouter.application.ports import EventFinder
from apikeyrouter.application.retention.gaps import archived_names, refuse_if_archived
from apikeyrouter.domain.events import (
    EVENT_NAMES,
    Candidate,
    EventRef,
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

MOST_AT_ONCE = 1_000
"""What an end brings about is recorded in one step with it; so many events are room enough for others'."""

Decision = RouteDecided | RouteRefused | RouteDeferred


class Trail(msgspec.Struct, frozen=True, kw_only=True):
    """All that the log says of one request: a sentence a decision, the events, and the evidence.

    `consequences` are the events of keys, providers and quotas that name this request as their evidence.
    `archived` names the segments that evidence which is `missing` here may be in.
    """

    request_id: str
    sentences: tuple[str, ...]
    events: tuple[Recorded, ...]
    consequences: tuple[Recorded, ...]
    evidence: tuple[Recorded, ...]
    missing: tuple[EventRef, ...]
    archived: tuple[str, ...] = ()

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
            "archived_in": list(self.archived),
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


def trail(reader: EventFinder, request_id: str) -> Trail:
    """Collect a request's events and everything that its decisions refer to."""
    request_id = request_id.removeprefix("request-")
    events = reader.stream(request_stream(request_id))
    if not events:
        refuse_if_archived(reader, request_id)
        raise NotFoundError(f"no request has the id {request_id[:64]!r}", param="request_id")
    decisions = [e.event for e in events if isinstance(e.event, RouteDecided | RouteRefused | RouteDeferred)]
    refs = list(dict.fromkeys(ref for decision in decisions for ref in evidence_of(decision)))
    found = {ref: reader.event(ref.stream, ref.version) for ref in refs}
    missing = tuple(ref for ref, recorded in found.items() if recorded is None)
    return Trail(
        request_id=request_id,
        sentences=tuple(explain(decision) for decision in decisions),
        events=tuple(events),
        consequences=tuple(_consequences(reader, events)),
        evidence=tuple(recorded for recorded in found.values() if recorded is not None),
        missing=missing,
        archived=archived_names(reader, (ref.stream for ref in missing)),
    )


def evidence_of(decision: Decision) -> Iterator[EventRef]:
    """Yield every reference that a decision makes."""
    if isinstance(decision, RouteDecided):
        for candidate in (decision.chosen, *decision.others):
            yield from _refs_of(candidate)
    for exclusion in decision.exclusions:
        yield exclusion.evidence


def _refs_of(candidate: Candidate) -> Iterator[EventRef]:
    yield candidate.state_ref
    yield candidate.offer_ref
    for ref in (candidate.load_ref, candidate.outcome_ref, candidate.quota_ref, candidate.budget_ref):
        if ref is not None:
            yield ref


def _consequences(reader: EventFinder, events: list[Recorded]) -> list[Recorded]:
    """Collect what names the request as its evidence: written while it was open, or at once when it ended."""
    stream, first, last = events[0].stream, events[0].position, events[-1].position + MOST_AT_ONCE
    decided = [recorded.event for recorded in events if isinstance(recorded.event, RouteDecided)]
    touched = list(dict.fromkeys(prefix for decision in decided for prefix in _touched(decision)))
    if not touched:
        return []
    return [recorded for recorded in reader.within(touched, first, last) if _names(recorded, stream)]


def _touched(decision: RouteDecided) -> Iterator[str]:
    """Tell how the names of the streams begin in which a call can have left something.

    Limits may be learned that were not known before, of the key or of a group that it is in.
    """
    chosen = decision.chosen
    yield key_stream(chosen.key_id)
    yield provider_stream(chosen.provider_id)
    yield quota_stream(f"key-{chosen.key_id}/")
    yield quota_stream(f"group-{chosen.provider_id}:")
    yield from (one.account for one in decision.reserved if one.account.startswith(budget_stream("")))


def _names(recorded: Recorded, stream: str) -> bool:
    evidence: tuple[EventRef, ...] = getattr(recorded.event, "evidence", ())
    return any(ref.stream == stream for ref in evidence)

"""Payloads: what became of kept bodies, who read them, and what was erased. No word of them is told."""

from typing import NamedTuple

from apikeyrouter.application.projections.tables import Change, Column, ReadModel, Table
from apikeyrouter.domain.events import (
    ErasureRefused,
    ErasureStarted,
    PayloadCaptured,
    PayloadLost,
    PayloadRead,
    PayloadsExpired,
    Recorded,
    SubjectErased,
    payload_stream,
)

LIFE = Table(
    name="payload_life",
    columns={
        "position": Column(int),
        "stream": Column(str),
        "version": Column(int),
        "at_us": Column(int),
        "change": Column(str),
        "actor": Column(str),
        "client_id": Column(str),
        "subject": Column(str),
        "request_id": Column(str),
        "payloads": Column(int),
        "sealed_bytes": Column(int),
        "since_us": Column(int),
        "until_us": Column(int),
        "hold_id": Column(str),
        "reason": Column(str),
    },
)
_STEP = LIFE.writing()
_OF_REQUESTS = payload_stream("")


class _Step(NamedTuple):
    """What a step tells; none of the rest."""

    change: str
    actor: str | None
    client_id: str
    subject: str | None = None
    request_id: str | None = None
    payloads: int | None = None
    sealed_bytes: int | None = None
    since_us: int | None = None
    until_us: int | None = None
    hold_id: str | None = None
    reason: str | None = None


def _captured(place: Recorded, event: PayloadCaptured) -> list[Change]:
    size = sum(part.sealed_bytes for part in event.parts)
    told = (event.client_id, event.subject, _request_id(place))
    return _row(place, _Step("captured", None, *told, payloads=1, sealed_bytes=size))


def _lost(place: Recorded, event: PayloadLost) -> list[Change]:
    told = (event.client_id, None, _request_id(place))
    return _row(place, _Step("lost", None, *told, payloads=1, reason=event.reason))


def _read(place: Recorded, event: PayloadRead) -> list[Change]:
    told = (event.client_id, event.subject, _request_id(place))
    return _row(place, _Step("read", event.actor, *told, payloads=1, reason=event.reason))


def _expired(place: Recorded, event: PayloadsExpired) -> list[Change]:
    told = _Step("expired", None, event.client_id, payloads=event.payloads, until_us=event.before_us)
    return _row(place, told)


def _erasure_started(place: Recorded, event: ErasureStarted) -> list[Change]:
    count = sum(doomed.payloads for doomed in event.subjects)
    told = _Step("erasure_started", event.actor, event.client_id, payloads=count, reason=event.reason)
    return _row(place, told)


def _erasure_refused(place: Recorded, event: ErasureRefused) -> list[Change]:
    told = (event.actor, event.client_id, event.subject)
    return _row(place, _Step("erasure_refused", *told, hold_id=event.hold_id, reason=event.reason))


def _erased(place: Recorded, event: SubjectErased) -> list[Change]:
    told = _Step(
        "erased",
        event.actor,
        event.client_id,
        event.subject,
        payloads=event.payloads,
        since_us=event.from_us,
        until_us=event.until_us,
        reason=event.reason,
    )
    return _row(place, told)


def _row(place: Recorded, step: _Step) -> list[Change]:
    return [(_STEP, (place.position, place.stream, place.version, place.event.at_us, *step))]


def _request_id(place: Recorded) -> str:
    return place.stream.removeprefix(_OF_REQUESTS)


MODEL = ReadModel(
    name="payloads",
    about="Kept bodies: captured, lost, read, expired, erased; when, whose, by whom and why.",
    tables=(LIFE,),
    projections={
        PayloadCaptured: _captured,
        PayloadLost: _lost,
        PayloadRead: _read,
        PayloadsExpired: _expired,
        ErasureStarted: _erasure_started,
        ErasureRefused: _erasure_refused,
        SubjectErased: _erased,
    },
)

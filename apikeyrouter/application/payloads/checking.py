"""Compare what lies sealed with what the log says of it: nothing changed, nothing missing, nothing undead."""

from collections.abc import Iterator, Mapping
from enum import StrEnum

import msgspec

from apikeyrouter.application.payloads.ports import FoundPart, PayloadStore
from apikeyrouter.application.ports import EventReader
from apikeyrouter.domain.events import PayloadCaptured, PayloadLost, PayloadsExpired, SubjectErased


class PayloadTrouble(StrEnum):
    """What can be wrong with a sealed body."""

    Changed = "changed"
    Missing = "missing"
    Unknown = "unknown"
    KeyMissing = "key_missing"
    NotErased = "not_erased"


class PayloadFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One body, or one key, that is not as the log says."""

    trouble: PayloadTrouble
    detail: str
    request_id: str | None = None
    part: str | None = None


class PayloadCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What a check counted and found. `gone` are payloads that were erased or have expired, as told."""

    payloads: int
    lost: int
    gone: int
    findings: tuple[PayloadFinding, ...]


class _Told(msgspec.Struct):
    """What the log says: payloads by request, keys that were destroyed, ages that were deleted."""

    captured: dict[str, PayloadCaptured]
    erased: dict[str, int]
    expired_us: dict[str, int]
    lost: int = 0


def check(reader: EventReader, store: PayloadStore) -> PayloadCheck:
    """Read every sealed body and the whole log. Blocking; works while others write."""
    found = {(one.request_id, one.part): one for one in store.parts()}
    keys = store.key_fingerprints()
    told = _told(reader)
    wrong = [*_troubles(told, found, keys, store), *_undead(told, keys)]
    gone = sum(1 for event in told.captured.values() if _may_be_gone(told, event))
    return PayloadCheck(payloads=len(told.captured), lost=told.lost, gone=gone, findings=tuple(wrong))


def _told(reader: EventReader) -> _Told:
    told = _Told(captured={}, erased={}, expired_us={})
    for recorded in reader.read():
        match recorded.event:
            case PayloadCaptured() as event:
                told.captured[recorded.stream.removeprefix("payload-")] = event
            case PayloadLost():
                told.lost += 1
            case SubjectErased() as event:
                told.erased[event.key_fingerprint] = recorded.position
            case PayloadsExpired() as event:
                before_us = told.expired_us.get(event.client_id, 0)
                told.expired_us[event.client_id] = max(before_us, event.before_us)
    return told


def _troubles(
    told: _Told, found: Mapping[tuple[str, str], FoundPart], keys: set[str], store: PayloadStore
) -> Iterator[PayloadFinding]:
    for request_id, event in told.captured.items():
        for sealed in event.parts:
            one = found.get((request_id, sealed.part))
            if one is None:
                if not _may_be_gone(told, event) and not _came_meanwhile(store, request_id, sealed.part):
                    yield _finding(PayloadTrouble.Missing, request_id, sealed.part, "its row is gone")
            elif one.key_fingerprint in told.erased:
                detail = f"position {told.erased[one.key_fingerprint]} says that it was erased"
                yield _finding(PayloadTrouble.NotErased, request_id, sealed.part, detail)
            elif one.sealed_sha256 != sealed.sealed_sha256:
                yield _finding(PayloadTrouble.Changed, request_id, sealed.part, "its bytes were changed")
            elif one.key_fingerprint not in keys:
                yield _finding(PayloadTrouble.KeyMissing, request_id, sealed.part, "no key opens it")
    for (request_id, part), one in found.items():
        if one.settled and request_id not in told.captured:
            yield _finding(PayloadTrouble.Unknown, request_id, part, "no event tells of it")


def _undead(told: _Told, keys: set[str]) -> Iterator[PayloadFinding]:
    for fingerprint in keys & told.erased.keys():
        detail = (
            f"the key {fingerprint} is there, and position {told.erased[fingerprint]} says it is destroyed"
        )
        yield PayloadFinding(trouble=PayloadTrouble.NotErased, detail=detail)


def _may_be_gone(told: _Told, event: PayloadCaptured) -> bool:
    before_us = told.expired_us.get(event.client_id, 0)
    return event.key_fingerprint in told.erased or event.taken_at_us < before_us


def _came_meanwhile(store: PayloadStore, request_id: str, part: str) -> bool:
    """Tell whether a body was stored behind the reading of the rows."""
    payload = store.find(request_id)
    return payload is not None and any(one.part == part for one in payload.parts)


def _finding(trouble: PayloadTrouble, request_id: str, part: str, detail: str) -> PayloadFinding:
    return PayloadFinding(trouble=trouble, detail=detail, request_id=request_id, part=part)

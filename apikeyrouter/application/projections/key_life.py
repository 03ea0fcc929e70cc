"""Keys and providers: what they are now, and every transition with its trigger and its evidence."""

import msgspec

from apikeyrouter.application.projections.tables import Change, Column, ReadModel, Rule, Table
from apikeyrouter.domain.events import (
    EventRef,
    KeyMaterialRotated,
    KeyMetadataChanged,
    KeyPinned,
    KeyRegistered,
    KeyRevoked,
    KeyStateChanged,
    ProviderHealthChanged,
    Recorded,
)

KEYS = Table(
    name="keys",
    columns={
        "key_id": Column(str),
        "provider_id": Column(str),
        "registered_at_us": Column(int),
        "state": Column(str, Rule.Last),
        "state_since_us": Column(int, Rule.Last),
        "rotations": Column(int, Rule.Sum),
        "revoked_at_us": Column(int),
        "first_position": Column(int, Rule.Least),
        "last_position": Column(int, Rule.Greatest),
    },
    key=("key_id",),
    appends=False,
)
KEY_TRANSITIONS = Table(
    name="key_transitions",
    columns={
        "position": Column(int),
        "key_id": Column(str),
        "version": Column(int),
        "at_us": Column(int),
        "actor": Column(str),
        "change": Column(str),
        "from_state": Column(str),
        "to_state": Column(str),
        "trigger": Column(str),
        "until_us": Column(int),
        "evidence": Column(str),
    },
)
PROVIDER_TRANSITIONS = Table(
    name="provider_transitions",
    columns={
        "position": Column(int),
        "provider_id": Column(str),
        "version": Column(int),
        "at_us": Column(int),
        "actor": Column(str),
        "from_health": Column(str),
        "to_health": Column(str),
        "trigger": Column(str),
        "until_us": Column(int),
        "evidence": Column(str),
    },
)

_KEY = KEYS.writing()
_TRANSITION = KEY_TRANSITIONS.writing()
_HEALTH = PROVIDER_TRANSITIONS.writing()


def _registered(place: Recorded, event: KeyRegistered) -> list[Change]:
    at_us = event.at_us
    return [
        _key(place, provider_id=event.provider_id, registered_at_us=at_us, state="available"),
        _transition(place, event.actor, "registered", to_state="available"),
    ]


def _state_changed(place: Recorded, event: KeyStateChanged) -> list[Change]:
    row = (
        *_where(place, "key-"),
        event.actor,
        "state_changed",
        event.from_state,
        event.to_state,
        event.trigger,
        event.until_us,
        references(event.evidence),
    )
    return [_key(place, state=event.to_state), (_TRANSITION, row)]


def _rotated(place: Recorded, event: KeyMaterialRotated) -> list[Change]:
    return [_key(place, rotations=1), _transition(place, event.actor, "material_rotated")]


def _metadata_changed(place: Recorded, event: KeyMetadataChanged) -> list[Change]:
    return [_key(place), _transition(place, event.actor, "metadata_changed")]


def _pinned(place: Recorded, event: KeyPinned) -> list[Change]:
    return [_key(place), _transition(place, event.actor, "pinned" if event.pinned else "unpinned")]


def _revoked(place: Recorded, event: KeyRevoked) -> list[Change]:
    return [
        _key(place, state="revoked", revoked_at_us=event.at_us),
        _transition(place, event.actor, "revoked", to_state="revoked", trigger=event.reason),
    ]


def _health_changed(place: Recorded, event: ProviderHealthChanged) -> list[Change]:
    row = (
        *_where(place, "provider-"),
        event.actor,
        event.from_health,
        event.to_health,
        event.trigger,
        event.until_us,
        references(event.evidence),
    )
    return [(_HEALTH, row)]


def references(evidence: tuple[EventRef, ...]) -> str | None:
    """Write references as JSON, each a stream and a version; None where there are none."""
    return msgspec.json.encode(evidence).decode() if evidence else None


def _where(place: Recorded, prefix: str) -> tuple[int, str, int, int]:
    return place.position, place.stream.removeprefix(prefix), place.version, place.event.at_us


def _key(
    place: Recorded,
    *,
    provider_id: str | None = None,
    registered_at_us: int | None = None,
    state: str | None = None,
    rotations: int = 0,
    revoked_at_us: int | None = None,
) -> Change:
    since_us = None if state is None else place.event.at_us
    told = (provider_id, registered_at_us, state, since_us, rotations, revoked_at_us)
    return _KEY, (place.stream.removeprefix("key-"), *told, place.position, place.position)


def _transition(
    place: Recorded, actor: str, change: str, *, to_state: str | None = None, trigger: str | None = None
) -> Change:
    return _TRANSITION, (*_where(place, "key-"), actor, change, None, to_state, trigger, None, None)


MODEL = ReadModel(
    name="key_life",
    about="Keys as they are, every change of a key or of a provider's health, by whom or by what evidence.",
    tables=(KEYS, KEY_TRANSITIONS, PROVIDER_TRANSITIONS),
    projections={
        KeyRegistered: _registered,
        KeyStateChanged: _state_changed,
        KeyMaterialRotated: _rotated,
        KeyMetadataChanged: _metadata_changed,
        KeyPinned: _pinned,
        KeyRevoked: _revoked,
        ProviderHealthChanged: _health_changed,
    },
)

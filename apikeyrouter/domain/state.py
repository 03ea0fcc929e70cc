"""The fold: everything the router knows, as a function of the events in their order.

The same fold serves live routing, recovery, replay and as-of queries. It never refuses and never raises on
an event it does not know. It is changed in place for speed, and by `evolve` alone.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from apikeyrouter.domain.columns import KeyColumns
from apikeyrouter.domain.events import (
    AttemptFailed,
    Event,
    EventRef,
    KeyMaterialRotated,
    KeyRegistered,
    KeyRevoked,
    KeyStateChanged,
    ModelOffer,
    NewEvent,
    ProviderRegistered,
    Recorded,
    RequestCancelled,
    RequestCompleted,
    RequestFailed,
    RequestReleased,
    RouteDecided,
    RouteRefused,
)
from apikeyrouter.domain.failures import KeyEffect
from apikeyrouter.domain.key_metadata import declaration
from apikeyrouter.domain.keys import Key
from apikeyrouter.domain.models.api_key import KeyState


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """A provider as the log tells it, and the event that said so."""

    provider_id: str
    kind: str
    base_url: str | None
    models: dict[str, ModelOffer]
    ref: EventRef


class OpenRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A request that has not ended: its last version, and the key that a call is out with, if any."""

    version: int
    attempt: int
    key_id: str | None
    row: int
    material_version: int


class RouterState:
    """Keys, providers and open requests at one position of the log."""

    def __init__(self) -> None:
        self.position = 0
        self.latest_us = 0
        self.versions: dict[str, int] = {}
        self.keys: dict[str, Key] = {}
        self.key_ids: list[str] = []
        self.fingerprints: dict[str, str] = {}
        self.providers: dict[str, Provider] = {}
        self.open_requests: dict[str, OpenRequest] = {}
        self.columns = KeyColumns()
        self.resting: dict[str, int] = {}
        self.next_wake_us: int | None = None
        self.pools: dict[object, Any] = {}

    def evolve(self, position: int, stream: str, version: int, event: Event) -> None:
        """Take in the next event."""
        self.position = position
        self.latest_us = max(self.latest_us, event.at_us)
        evolve = _EVOLVE.get(type(event))
        if not stream.startswith("request-"):
            self.versions[stream] = version
        if evolve is not None:
            evolve(self, stream, version, event)

    def fold(self, events: Iterable[Recorded]) -> "RouterState":
        """Take in recorded events in their order."""
        for recorded in events:
            self.evolve(*recorded)
        return self

    def apply(self, events: Iterable[NewEvent]) -> None:
        """Take in events on their way into the log, at the positions they are about to get."""
        for position, (stream, version, event) in enumerate(events, self.position + 1):
            self.evolve(position, stream, version, event)

    def next_version(self, stream: str) -> int:
        """Return the version that the next event of a stream will have; not for request streams."""
        return self.versions.get(stream, 0) + 1

    def replace_key(self, key: Key, ref: EventRef) -> None:
        """Put a key's new shape in place, with its row and its wake-up time."""
        self.keys[key.key_id] = key
        self.columns.set_state(key.row, key.state, ref)
        if key.until_us is not None:
            self.resting[key.key_id] = key.until_us
        else:
            self.resting.pop(key.key_id, None)
        self.next_wake_us = min(self.resting.values(), default=None)


def _key_registered(state: RouterState, stream: str, version: int, event: KeyRegistered) -> None:
    key_id = stream.removeprefix("key-")
    ref = EventRef(stream, version)
    row = state.columns.add(declaration(event.metadata).weight, ref)
    state.key_ids.append(key_id)
    state.keys[key_id] = Key(
        key_id=key_id,
        row=row,
        provider_id=event.provider_id,
        fingerprint=event.fingerprint,
        metadata=event.metadata,
        registered_at_us=event.at_us,
        version=version,
        material_version=version,
    )
    state.fingerprints[event.fingerprint] = key_id
    _catalogue_changed(state)


def _key_state_changed(state: RouterState, stream: str, version: int, event: KeyStateChanged) -> None:
    key = state.keys[stream.removeprefix("key-")]
    changed = msgspec.structs.replace(
        key,
        state=KeyState(event.to_state),
        reason=event.trigger,
        until_us=event.until_us,
        version=version,
    )
    state.replace_key(changed, EventRef(stream, version))


def _key_material_rotated(state: RouterState, stream: str, version: int, event: KeyMaterialRotated) -> None:
    key = state.keys[stream.removeprefix("key-")]
    state.fingerprints.pop(key.fingerprint, None)
    state.fingerprints[event.fingerprint] = key.key_id
    changed = msgspec.structs.replace(
        key, fingerprint=event.fingerprint, version=version, material_version=version, strikes=0
    )
    state.replace_key(changed, EventRef(stream, version))


def _key_revoked(state: RouterState, stream: str, version: int, event: KeyRevoked) -> None:
    key = state.keys[stream.removeprefix("key-")]
    state.fingerprints.pop(key.fingerprint, None)
    changed = msgspec.structs.replace(
        key, state=KeyState.Revoked, reason=event.reason, until_us=None, version=version
    )
    state.replace_key(changed, EventRef(stream, version))
    _catalogue_changed(state)


def _provider_registered(state: RouterState, stream: str, version: int, event: ProviderRegistered) -> None:
    state.providers[event.provider_id] = Provider(
        provider_id=event.provider_id,
        kind=event.kind,
        base_url=event.base_url,
        models={offer.model: offer for offer in event.models},
        ref=EventRef(stream, version),
    )
    _catalogue_changed(state)


def _route_decided(state: RouterState, stream: str, version: int, event: RouteDecided) -> None:
    key = state.keys[event.chosen.key_id]
    state.columns.dispatch(key.row, event.at_us, EventRef(stream, version))
    state.open_requests[stream] = OpenRequest(
        version=version,
        attempt=event.attempt,
        key_id=key.key_id,
        row=key.row,
        material_version=key.material_version,
    )


def _attempt_failed(state: RouterState, stream: str, version: int, event: AttemptFailed) -> None:
    request = state.open_requests.get(stream)
    if request is None:
        return
    ref = EventRef(stream, version)
    state.columns.finish(request.row, ref)
    state.open_requests[stream] = msgspec.structs.replace(request, version=version, key_id=None)
    if event.effect != KeyEffect.Nothing:
        state.columns.fail(request.row, event.at_us, ref)
    if event.effect == KeyEffect.Strike:
        key = state.keys[event.key_id]
        state.keys[event.key_id] = msgspec.structs.replace(key, strikes=key.strikes + 1)


def _request_completed(state: RouterState, stream: str, version: int, event: RequestCompleted) -> None:
    request = state.open_requests.get(stream)
    if request is None:
        return
    ref = EventRef(stream, version)
    _close(state, stream, ref)
    state.columns.succeed(request.row, event.at_us, event.first_byte_us, ref)
    key = state.keys[event.key_id]
    if key.strikes:
        state.keys[event.key_id] = msgspec.structs.replace(key, strikes=0)


def _request_ended(state: RouterState, stream: str, version: int, _event: Event) -> None:
    if stream in state.open_requests:
        _close(state, stream, EventRef(stream, version))


def _close(state: RouterState, stream: str, ref: EventRef) -> None:
    request = state.open_requests.pop(stream)
    if request.key_id is not None:
        state.columns.finish(request.row, ref)


def _catalogue_changed(state: RouterState) -> None:
    state.pools.clear()


_EVOLVE: dict[type[Event], Callable[[RouterState, str, int, Any], None]] = {
    KeyRegistered: _key_registered,
    KeyStateChanged: _key_state_changed,
    KeyMaterialRotated: _key_material_rotated,
    KeyRevoked: _key_revoked,
    ProviderRegistered: _provider_registered,
    RouteDecided: _route_decided,
    AttemptFailed: _attempt_failed,
    RequestCompleted: _request_completed,
    RequestFailed: _request_ended,
    RouteRefused: _request_ended,
    RequestCancelled: _request_ended,
    RequestReleased: _request_ended,
}

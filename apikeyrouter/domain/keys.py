"""The life of a key: which transitions exist, who causes them, and the events they leave."""

import msgspec

from apikeyrouter.domain.events import (
    EventRef,
    KeyMaterialRotated,
    KeyRegistered,
    KeyRevoked,
    KeyStateChanged,
    Metadata,
)
from apikeyrouter.domain.failures import Failure, KeyEffect
from apikeyrouter.domain.models.api_key import KeyState
from apikeyrouter.domain.models.system_error import ConflictError

ROUTER = "router"
STRIKES_BEFORE_REST = 3
FIRST_REST_US = 5_000_000
LONGEST_REST_US = 300_000_000


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A key as the log tells it. `strikes` counts failures since the last success."""

    key_id: str
    row: int
    provider_id: str
    fingerprint: str
    metadata: Metadata
    registered_at_us: int
    state: KeyState = KeyState.Available
    reason: str = "registered"
    until_us: int | None = None
    version: int = 1
    material_version: int = 1
    strikes: int = 0

    def change(
        self,
        to_state: KeyState,
        trigger: str,
        *,
        at_us: int,
        actor: str = ROUTER,
        until_us: int | None = None,
        evidence: tuple[EventRef, ...] = (),
    ) -> KeyStateChanged:
        """Describe one transition of this key."""
        return KeyStateChanged(
            at_us=at_us,
            actor=actor,
            from_state=self.state,
            to_state=to_state,
            trigger=trigger,
            until_us=until_us,
            evidence=evidence,
        )


def register(
    *, at_us: int, actor: str, provider_id: str, fingerprint: str, metadata: Metadata
) -> KeyRegistered:
    """Open a key's stream."""
    return KeyRegistered(
        at_us=at_us, actor=actor, provider_id=provider_id, fingerprint=fingerprint, metadata=metadata
    )


def disable(key: Key, *, at_us: int, actor: str) -> KeyStateChanged:
    """Take a key out of service by hand."""
    _refuse_if_revoked(key)
    if key.state is KeyState.Disabled:
        raise ConflictError(f"key {key.key_id} is disabled already")
    return key.change(KeyState.Disabled, "disabled_by_hand", at_us=at_us, actor=actor)


def enable(key: Key, *, at_us: int, actor: str) -> KeyStateChanged:
    """Bring a disabled key back. A rejected key is healed by rotation, not by wishing."""
    _refuse_if_revoked(key)
    if key.state is KeyState.Invalid:
        raise ConflictError(f"key {key.key_id} was rejected by its provider: rotate its material instead")
    if key.state is not KeyState.Disabled:
        raise ConflictError(f"key {key.key_id} is {key.state}, not disabled")
    return key.change(KeyState.Available, "enabled_by_hand", at_us=at_us, actor=actor)


def rotate(
    key: Key, *, at_us: int, actor: str, fingerprint: str
) -> list[KeyMaterialRotated | KeyStateChanged]:
    """Replace the material; whatever the old material suffered from is over, save a hand's disabling."""
    _refuse_if_revoked(key)
    rotated = KeyMaterialRotated(at_us=at_us, actor=actor, fingerprint=fingerprint)
    if key.state in {KeyState.Available, KeyState.Disabled}:
        return [rotated]
    return [rotated, key.change(KeyState.Available, "material_rotated", at_us=at_us, actor=actor)]


def revoke(key: Key, *, at_us: int, actor: str, reason: str) -> KeyRevoked:
    """End a key for ever."""
    _refuse_if_revoked(key)
    return KeyRevoked(at_us=at_us, actor=actor, reason=reason)


def wake(key: Key, *, at_us: int) -> KeyStateChanged | None:
    """End a timed state whose time has come."""
    if key.until_us is None or at_us < key.until_us:
        return None
    since = (EventRef(f"key-{key.key_id}", key.version),)
    if key.state is KeyState.Throttled:
        return key.change(KeyState.Available, "cooldown_elapsed", at_us=at_us, evidence=since)
    if key.state is KeyState.Exhausted:
        return key.change(KeyState.Recovering, "window_reset", at_us=at_us, evidence=since)
    return None


def succeed(key: Key, *, at_us: int, evidence: EventRef) -> KeyStateChanged | None:
    """Make a recovering key that served a request available again."""
    if key.state is not KeyState.Recovering:
        return None
    return key.change(KeyState.Available, "served_again", at_us=at_us, evidence=(evidence,))


def suffer(
    key: Key, failure: Failure, *, at_us: int, evidence: EventRef, material_version: int
) -> KeyStateChanged | None:
    """Decide what a failure does to the key that was used; None where its state stays."""
    replaced_since = key.material_version != material_version
    if replaced_since or key.state in {KeyState.Revoked, KeyState.Disabled, KeyState.Invalid}:
        return None
    match failure.handling.effect:
        case KeyEffect.Invalidate:
            return key.change(KeyState.Invalid, failure.failure_class, at_us=at_us, evidence=(evidence,))
        case KeyEffect.Exhaust:
            return _rest(key, KeyState.Exhausted, failure.failure_class, failure.wait_us, at_us, evidence)
        case KeyEffect.Throttle:
            return _rest(key, KeyState.Throttled, failure.failure_class, failure.wait_us, at_us, evidence)
        case KeyEffect.Strike:
            return _strike(key, failure, at_us, evidence)
        case KeyEffect.Nothing:
            return None


def _strike(key: Key, failure: Failure, at_us: int, evidence: EventRef) -> KeyStateChanged | None:
    beyond = key.strikes + 1 - STRIKES_BEFORE_REST
    if beyond < 0:
        return None
    growing_us = min(FIRST_REST_US << min(beyond, 10), LONGEST_REST_US)
    wait_us = max(growing_us, failure.wait_us)
    return _rest(key, KeyState.Throttled, "repeated_failures", wait_us, at_us, evidence)


def _rest(
    key: Key, to_state: KeyState, trigger: str, wait_us: int, at_us: int, evidence: EventRef
) -> KeyStateChanged | None:
    """Send a key to rest. A rest that runs already is only ever prolonged."""
    if key.state is KeyState.Exhausted and to_state is KeyState.Throttled:
        return None
    until_us = at_us + wait_us
    if key.until_us is not None:
        if key.state is to_state and until_us <= key.until_us:
            return None
        until_us = max(until_us, key.until_us)
    return key.change(to_state, trigger, at_us=at_us, until_us=until_us, evidence=(evidence,))


def _refuse_if_revoked(key: Key) -> None:
    if key.state is KeyState.Revoked:
        raise ConflictError(f"key {key.key_id} was revoked; register a new one")

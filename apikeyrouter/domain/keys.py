"""The life of a key: which transitions exist, who causes them, and the events they leave."""

import msgspec

from apikeyrouter.domain.events import (
    EventRef,
    KeyMaterialRotated,
    KeyMetadataChanged,
    KeyPinned,
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
COOLDOWN_ELAPSED = "cooldown_elapsed"

TRANSITIONS: dict[KeyState, frozenset[KeyState]] = {
    KeyState.Available: frozenset(
        {KeyState.Throttled, KeyState.Exhausted, KeyState.Invalid, KeyState.Draining, KeyState.Disabled}
    ),
    # A rest may be prolonged, hence from Throttled to Throttled and from Exhausted to Exhausted.
    KeyState.Throttled: frozenset(
        {
            KeyState.Available,
            KeyState.Throttled,
            KeyState.Exhausted,
            KeyState.Invalid,
            KeyState.Draining,
            KeyState.Disabled,
        }
    ),
    # From Exhausted straight to Available only with new material.
    KeyState.Exhausted: frozenset(
        {
            KeyState.Recovering,
            KeyState.Available,
            KeyState.Exhausted,
            KeyState.Invalid,
            KeyState.Draining,
            KeyState.Disabled,
        }
    ),
    KeyState.Recovering: frozenset(
        {
            KeyState.Available,
            KeyState.Throttled,
            KeyState.Exhausted,
            KeyState.Invalid,
            KeyState.Draining,
            KeyState.Disabled,
        }
    ),
    # Enabling gives back what the key was when it left: a rest goes on, a rejection is not forgotten.
    KeyState.Draining: frozenset(
        {KeyState.Disabled, KeyState.Available, KeyState.Throttled, KeyState.Exhausted, KeyState.Invalid}
    ),
    KeyState.Disabled: frozenset(
        {KeyState.Available, KeyState.Throttled, KeyState.Exhausted, KeyState.Invalid}
    ),
    KeyState.Invalid: frozenset({KeyState.Available, KeyState.Disabled}),
    KeyState.Revoked: frozenset(),
}
"""Every transition that exists. Revocation is an event of its own and possible from anywhere."""

OUT_OF_SERVICE = frozenset({KeyState.Draining, KeyState.Disabled, KeyState.Invalid, KeyState.Revoked})
"""What befalls a running request in these states changes nothing: the key gets no new ones anyway."""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A key as the log tells it.

    `strikes` counts failures since the last success. `rest` is the timed state that has not elapsed yet,
    `rejected` says that the provider refused the present material: both outlive a disabling by hand.
    `models` are those that it may be used for, None for all.
    """

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
    rest: tuple[KeyState, int] | None = None
    rejected: bool = False
    on_trial: bool = False
    pinned: bool = False
    models: frozenset[str] | None = None

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
        """Describe one transition of this key, or refuse one that does not exist."""
        if to_state not in TRANSITIONS[self.state]:
            raise ConflictError(f"key {self.key_id} is {self.state} and cannot become {to_state}")
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


def change_metadata(key: Key, *, at_us: int, actor: str, metadata: Metadata) -> KeyMetadataChanged:
    """Declare anew what is known of a key."""
    _refuse_if_revoked(key)
    return KeyMetadataChanged(at_us=at_us, actor=actor, metadata=metadata)


def pin(key: Key, *, at_us: int, actor: str, pinned: bool) -> KeyPinned:
    """Prefer a key to all that are not pinned, as long as it may be chosen; or stop that."""
    _refuse_if_revoked(key)
    if key.pinned == pinned:
        raise ConflictError(f"key {key.key_id} is {'pinned already' if pinned else 'not pinned'}")
    return KeyPinned(at_us=at_us, actor=actor, pinned=pinned)


def disable(key: Key, *, at_us: int, actor: str) -> KeyStateChanged:
    """Take a key out of service by hand."""
    _refuse_if_revoked(key)
    if key.state is KeyState.Disabled:
        raise ConflictError(f"key {key.key_id} is disabled already")
    return key.change(KeyState.Disabled, "disabled_by_hand", at_us=at_us, actor=actor)


def drain(key: Key, *, at_us: int, actor: str) -> KeyStateChanged:
    """Give a key no new requests; it is disabled once those under way have ended."""
    _refuse_if_revoked(key)
    if key.state in {KeyState.Draining, KeyState.Disabled, KeyState.Invalid}:
        raise ConflictError(f"key {key.key_id} is {key.state} and gets no new requests already")
    return key.change(KeyState.Draining, "drained_by_hand", at_us=at_us, actor=actor)


def drained(key: Key, *, in_flight: int, at_us: int, evidence: EventRef) -> KeyStateChanged | None:
    """Disable a draining key whose last request has ended."""
    if key.state is not KeyState.Draining or in_flight:
        return None
    return key.change(KeyState.Disabled, "drained", at_us=at_us, evidence=(evidence,))


def enable(key: Key, *, at_us: int, actor: str) -> KeyStateChanged:
    """Bring a disabled or draining key back to what it was: a rest goes on, a rejection stands."""
    _refuse_if_revoked(key)
    if key.state is KeyState.Invalid:
        raise ConflictError(
            f"key {key.key_id} was rejected by its provider: rotate its material, even to the same"
        )
    if key.state not in {KeyState.Disabled, KeyState.Draining}:
        raise ConflictError(f"key {key.key_id} is {key.state}, not disabled")
    trigger = "enabled_by_hand"
    if key.rejected:
        return key.change(KeyState.Invalid, trigger, at_us=at_us, actor=actor)
    if key.rest is not None and key.rest[1] > at_us:
        state, until_us = key.rest
        return key.change(state, trigger, at_us=at_us, actor=actor, until_us=until_us)
    return key.change(KeyState.Available, trigger, at_us=at_us, actor=actor)


def rotate(
    key: Key, *, at_us: int, actor: str, fingerprint: str
) -> list[KeyMaterialRotated | KeyStateChanged]:
    """Replace the material; whatever the old material suffered from is over, save a hand's disabling."""
    _refuse_if_revoked(key)
    rotated = KeyMaterialRotated(at_us=at_us, actor=actor, fingerprint=fingerprint)
    if key.state in {KeyState.Available, KeyState.Draining, KeyState.Disabled}:
        return [rotated]
    return [rotated, key.change(KeyState.Available, "material_rotated", at_us=at_us, actor=actor)]


def revoke(key: Key, *, at_us: int, actor: str, reason: str) -> KeyRevoked:
    """End a key for ever."""
    _refuse_if_revoked(key)
    return KeyRevoked(at_us=at_us, actor=actor, reason=reason)


def wake(key: Key, *, at_us: int, since: EventRef) -> KeyStateChanged | None:
    """End a timed state whose time has come; `since` is the event that began it."""
    if key.until_us is None or at_us < key.until_us:
        return None
    if key.state is KeyState.Throttled:
        return key.change(KeyState.Available, COOLDOWN_ELAPSED, at_us=at_us, evidence=(since,))
    if key.state is KeyState.Exhausted:
        return key.change(KeyState.Recovering, "window_reset", at_us=at_us, evidence=(since,))
    return None


def succeed(key: Key, *, at_us: int, evidence: EventRef) -> KeyStateChanged | None:
    """Make a recovering key that served a request available again."""
    if key.state is not KeyState.Recovering:
        return None
    return key.change(KeyState.Available, "served_again", at_us=at_us, evidence=(evidence,))


def suffer(
    key: Key,
    failure: Failure,
    *,
    at_us: int,
    evidence: EventRef,
    material_version: int,
    window_ends_us: int | None = None,
) -> KeyStateChanged | None:
    """Decide what a failure does to the key that was used; None where its state stays.

    `window_ends_us` is when the key's long quota window ends, where one is known: gone quota is back then.
    """
    replaced_since = key.material_version != material_version
    if replaced_since or key.state in OUT_OF_SERVICE:
        return None
    match failure.handling.effect:
        case KeyEffect.Invalidate:
            return key.change(KeyState.Invalid, failure.failure_class, at_us=at_us, evidence=(evidence,))
        case KeyEffect.Exhaust:
            wait_us = failure.wait_us if window_ends_us is None else max(window_ends_us - at_us, 0)
            return _rest(key, KeyState.Exhausted, failure.failure_class, wait_us, at_us, evidence)
        case KeyEffect.Throttle:
            return _rest(key, KeyState.Throttled, failure.failure_class, failure.wait_us, at_us, evidence)
        case KeyEffect.Strike:
            return _strike(key, failure, at_us, evidence)
        case KeyEffect.Nothing | KeyEffect.DenyModel:
            return None


def _strike(key: Key, failure: Failure, at_us: int, evidence: EventRef) -> KeyStateChanged | None:
    beyond = key.strikes + 1 - STRIKES_BEFORE_REST
    if beyond < 0:
        return None
    wait_us = max(growing_rest_us(beyond), failure.wait_us)
    return _rest(key, KeyState.Throttled, "repeated_failures", wait_us, at_us, evidence)


def growing_rest_us(times_before: int) -> int:
    """Return how long to rest after failing again: twice as long each time, within bounds."""
    return min(FIRST_REST_US << min(times_before, 10), LONGEST_REST_US)


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

"""What happens to keys: stream key-<id>."""

import msgspec

from apikeyrouter.domain.vocabulary.shape import Event, EventRef, Metadata


class KeyRegistered(Event, frozen=True, kw_only=True, gc=False):
    """A key was sealed into the vault and may now be chosen."""

    actor: str
    provider_id: str
    fingerprint: str
    metadata: Metadata = msgspec.field(default_factory=dict)


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

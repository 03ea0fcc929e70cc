"""Everything in the record that is not a request's own: what managers did, what nodes said, what followed.

What managers did is done again, as far as the changed world allows it. What followed from requests follows
again by itself, so its record is not taken over; what providers told beside an answer is.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from apikeyrouter.application.what_if.changes import Change, Interventions
from apikeyrouter.application.what_if.world import World
from apikeyrouter.domain import keys
from apikeyrouter.domain.events import (
    Event,
    KeyMaterialRotated,
    KeyMetadataChanged,
    KeyPinned,
    KeyRegistered,
    KeyRevoked,
    KeyStateChanged,
    NewEvent,
    ProviderHealthChanged,
    QuotaCorrected,
    QuotaLimitLearned,
    Recorded,
)
from apikeyrouter.domain.models.system_error import ConflictError

BY_HAND: dict[str, Callable[..., Event]] = {
    "disabled_by_hand": keys.disable,
    "drained_by_hand": keys.drain,
    "enabled_by_hand": keys.enable,
}
DRAINED = "drained"


class Bystanders:
    """Take over what is not a request's own."""

    def __init__(self, world: World, change: Change, interventions: Interventions) -> None:
        self._world = world
        self._change = change
        self._interventions = interventions

    def begin(self) -> None:
        """Bring about what is different, where it concerns what is there already."""
        for stream, event in self._interventions.redeclared(self._world.journal.state):
            self._write(stream, event)
        self._intervene()

    def verbatim(self, recorded: Recorded) -> None:
        """Take over an event of a request that was under way before the stretch."""
        state = self._world.journal.state
        if recorded.version == 1 or recorded.stream in state.open_requests:
            self._world.journal.record([NewEvent(recorded.stream, recorded.version, recorded.event)])

    def take(self, recorded: Recorded, *, is_derived: bool, in_step: bool) -> None:
        """Take over an event; `is_derived` says that it followed from a request that is run again."""
        match recorded.event:
            case QuotaLimitLearned() | QuotaCorrected():
                if (in_step or not is_derived) and self._may_be_told(recorded.event):
                    self._write(recorded.stream, recorded.event)
            case _ if is_derived:
                return
            case KeyStateChanged() | ProviderHealthChanged():
                self._state_changed(recorded)
            case KeyRegistered() | KeyMetadataChanged() | KeyMaterialRotated() | KeyPinned() | KeyRevoked():
                self._managed(recorded)
                self._intervene()
            case event:
                kept = self._change.of_managers(recorded.stream, event)
                if kept is not None:
                    self._write(recorded.stream, kept)
                self._intervene()

    def _intervene(self) -> None:
        for stream, event in self._interventions.due(self._world.journal.state):
            self._write(stream, event)

    def _state_changed(self, recorded: Recorded) -> None:
        """Let time and hands do what they did; changes that followed from calls come by themselves."""
        event, upkeep = recorded.event, self._world.upkeep
        assert isinstance(event, KeyStateChanged | ProviderHealthChanged)  # noqa: S101 - the caller's case
        if any(ref.stream.startswith("request-") for ref in event.evidence):
            self._followed_earlier(recorded.stream, event)
        elif isinstance(event, KeyStateChanged) and event.trigger in BY_HAND:
            self._command(recorded.stream, BY_HAND[event.trigger], at_us=event.at_us, actor=event.actor)
        elif isinstance(event, KeyStateChanged) and event.trigger == DRAINED:
            upkeep.drain_idle(event.at_us)
        elif event.evidence:
            upkeep.wake(event.at_us)

    def _followed_earlier(self, stream: str, event: KeyStateChanged | ProviderHealthChanged) -> None:
        """Take over what followed from a request that was under way before the stretch, where it fits."""
        state = self._world.journal.state
        if isinstance(event, KeyStateChanged):
            key = state.keys.get(stream.removeprefix("key-"))
            now: str | None = None if key is None else key.state
            was = event.from_state
        else:
            health = state.health.get(event.provider_id)
            now, was = ("healthy" if health is None else health.health), event.from_health
        if now == was:
            self._write(stream, event)

    def _managed(self, recorded: Recorded) -> None:
        stream, event = recorded.stream, recorded.event
        match event:
            case KeyRegistered():
                declared = self._change.declared(stream.removeprefix("key-"), event.metadata)
                self._write(stream, msgspec.structs.replace(event, metadata=declared))
            case KeyMetadataChanged():
                declared = self._change.declared(stream.removeprefix("key-"), event.metadata)
                self._command(
                    stream, keys.change_metadata, at_us=event.at_us, actor=event.actor, metadata=declared
                )
            case KeyMaterialRotated(fingerprint=fingerprint):
                self._command(
                    stream, keys.rotate, at_us=event.at_us, actor=event.actor, fingerprint=fingerprint
                )
            case KeyPinned(pinned=pinned):
                self._command(stream, keys.pin, at_us=event.at_us, actor=event.actor, pinned=pinned)
            case KeyRevoked(reason=reason):
                self._command(stream, keys.revoke, at_us=event.at_us, actor=event.actor, reason=reason)

    def _command(self, stream: str, decider: Callable[..., Event | Sequence[Event]], **details: Any) -> None:
        """Do again what a manager did; what the changed world refuses does not happen."""
        key = self._world.journal.state.keys.get(stream.removeprefix("key-"))
        if key is None:
            return
        with contextlib.suppress(ConflictError):
            decided = decider(key, **details)
            self._write(stream, *([decided] if isinstance(decided, Event) else decided))

    def _may_be_told(self, event: QuotaLimitLearned | QuotaCorrected) -> bool:
        """Tell whether there still is whom it is about: nobody tells limits of a key that has left."""
        if isinstance(event, QuotaCorrected):
            return True
        return event.key_id in self._world.journal.state.quotas.limits

    def _write(self, stream: str, *events: Event) -> None:
        self._world.journal.record_next(stream, *events)

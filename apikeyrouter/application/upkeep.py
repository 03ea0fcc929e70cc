"""What becomes of keys and providers while requests pass: each change is an event with its evidence.

Rests end when their time has come, failures and successes have their consequences, limits are learned.
"""

from apikeyrouter.application.journal import Journal
from apikeyrouter.domain import keys, provider_health
from apikeyrouter.domain.budget_acts import alerts_due
from apikeyrouter.domain.events import (
    Event,
    EventRef,
    budget_stream,
    key_stream,
    provider_stream,
)
from apikeyrouter.domain.failures import Failure
from apikeyrouter.domain.keys import Key
from apikeyrouter.domain.models.api_key import ELIGIBLE_STATES, KeyState
from apikeyrouter.domain.provider_health import ProviderHealth
from apikeyrouter.domain.state import RouterState


class Upkeep:
    """Record what follows for keys and providers from what happened to requests."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        journal.after_outages(self.drain_idle)

    def wake(self, at_us: int) -> None:
        """End the rests whose time has come, before anything is decided."""
        self._journal.meet(at_us)
        state = self._journal.state
        if state.next_wake_us is None or at_us < state.next_wake_us:
            return
        for key_id in [key_id for key_id, until_us in state.resting.items() if until_us <= at_us]:
            key = state.keys[key_id]
            self._record_key(key_id, keys.wake(key, at_us=at_us, since=state.columns.state_ref[key.row]))
        for provider_id in list(state.unwell):
            self._record_provider(provider_id, provider_health.wake(state.health[provider_id], at_us=at_us))

    def attempt_failed(
        self, before: Key, failure: Failure, *, at_us: int, evidence: EventRef, material_version: int
    ) -> None:
        """Draw the consequences of a recorded failure; `before` is the key as it was before."""
        state = self._journal.state
        change = keys.suffer(
            before,
            failure,
            at_us=at_us,
            evidence=evidence,
            material_version=material_version,
            window_ends_us=state.quotas.next_reset_us(before.key_id),
        )
        self._record_key(before.key_id, change)
        if failure.handling.blames_provider:
            health = state.health[before.provider_id]
            sound = _sound_keys(state, health)
            down = provider_health.suffer(health, sound_keys=sound, at_us=at_us, evidence=evidence)
            self._record_provider(before.provider_id, down)

    def is_settled(self, key_id: str) -> bool:
        """Tell whether a success changes nothing: mostly all is well, and this is cheap."""
        state = self._journal.state
        return state.keys[key_id].state is KeyState.Available and not state.unwell

    def served(self, key_id: str, *, at_us: int, evidence: EventRef) -> None:
        """Draw the consequences of a success."""
        state = self._journal.state
        key = state.keys[key_id]
        self._record_key(key_id, keys.succeed(key, at_us=at_us, evidence=evidence))
        if state.unwell and key.provider_id in state.unwell:
            health = state.health[key.provider_id]
            self._record_provider(
                key.provider_id, provider_health.succeed(health, at_us=at_us, evidence=evidence)
            )

    def released(self, key_id: str, *, at_us: int, evidence: EventRef) -> None:
        """Disable a draining key whose last request has ended."""
        state = self._journal.state
        key = state.keys[key_id]
        in_flight = int(state.columns.in_flight[key.row])
        self._record_key(key_id, keys.drained(key, in_flight=in_flight, at_us=at_us, evidence=evidence))

    def drain_idle(self, at_us: int) -> None:
        """Disable draining keys that have nothing to finish."""
        for key in list(self._journal.state.keys.values()):
            self.released(key.key_id, at_us=at_us, evidence=EventRef(key_stream(key.key_id), key.version))

    def alert(self, at_us: int, evidence: EventRef) -> None:
        """Tell of the thresholds that budgets have reached."""
        for budget_id, alert in alerts_due(self._journal.state, at_us, evidence):
            self._record(budget_stream(budget_id), alert)

    def _record_key(self, key_id: str, change: Event | None) -> None:
        self._record(key_stream(key_id), change)

    def _record_provider(self, provider_id: str, change: Event | None) -> None:
        self._record(provider_stream(provider_id), change)

    def _record(self, stream: str, change: Event | None) -> None:
        if change is not None:
            self._journal.record_next(stream, change)


def _sound_keys(state: RouterState, health: ProviderHealth) -> int:
    """Count the keys of a provider that may be chosen and have not failed since its last success."""
    return sum(
        key.provider_id == health.provider_id
        and key.state in ELIGIBLE_STATES
        and key.key_id not in health.failing_keys
        for key in state.keys.values()
    )

"""The health of a provider, apart from that of its keys: many keys failing alike are not many bad keys."""

from enum import StrEnum

import msgspec

from apikeyrouter.domain.events import EventRef, ProviderHealthChanged, provider_stream
from apikeyrouter.domain.keys import ROUTER, growing_rest_us

FAILURES_BEFORE_DOWN = 5
KEYS_BEFORE_DOWN = 2


class Health(StrEnum):
    """How a provider does: a recovering one serves one request before it gets many."""

    Healthy = "healthy"
    Down = "down"
    Recovering = "recovering"


TRANSITIONS: dict[Health, frozenset[Health]] = {
    Health.Healthy: frozenset({Health.Down}),
    Health.Down: frozenset({Health.Recovering}),
    Health.Recovering: frozenset({Health.Healthy, Health.Down}),
}


class ProviderHealth(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's health as the log tells it.

    `failures` and `failing_keys` are those since its last success, `downs` how often in a row it went down.
    """

    provider_id: str
    health: Health = Health.Healthy
    until_us: int | None = None
    version: int = 0
    failures: int = 0
    failing_keys: frozenset[str] = frozenset()
    downs: int = 0

    def failed(self, key_id: str) -> "ProviderHealth":
        """Count a failure that is the provider's."""
        return msgspec.structs.replace(
            self, failures=self.failures + 1, failing_keys=self.failing_keys | {key_id}
        )

    def succeeded(self) -> "ProviderHealth":
        """Forget the failures before a success."""
        return msgspec.structs.replace(self, failures=0, failing_keys=frozenset(), downs=0)

    def changed(self, event: ProviderHealthChanged, version: int) -> "ProviderHealth":
        """Take in a change of health."""
        health = Health(event.to_health)
        known = self.succeeded() if health is Health.Healthy else self
        downs = known.downs + (health is Health.Down)
        return msgspec.structs.replace(
            known, health=health, until_us=event.until_us, version=version, downs=downs
        )

    def change(
        self,
        to_health: Health,
        trigger: str,
        at_us: int,
        evidence: tuple[EventRef, ...],
        until_us: int | None = None,
    ) -> ProviderHealthChanged:
        """Describe one transition."""
        assert to_health in TRANSITIONS[self.health]  # noqa: S101 - the deciders below know the table
        return ProviderHealthChanged(
            at_us=at_us,
            actor=ROUTER,
            provider_id=self.provider_id,
            from_health=self.health,
            to_health=to_health,
            trigger=trigger,
            until_us=until_us,
            evidence=evidence,
        )


def suffer(
    provider: ProviderHealth, *, sound_keys: int, at_us: int, evidence: EventRef
) -> ProviderHealthChanged | None:
    """Take a provider out of service when its failures are not those of one key; None where it stays.

    To be asked after the failure was counted. `sound_keys` is how many may be chosen that have not failed:
    where there are none, the one that did is all there is. A recovering provider that fails again has not
    recovered.
    """
    if provider.health is Health.Down or not provider.failures:
        return None
    many = provider.failures >= FAILURES_BEFORE_DOWN
    common = len(provider.failing_keys) >= KEYS_BEFORE_DOWN or not sound_keys
    if provider.health is Health.Healthy and not (many and common):
        return None
    until_us = at_us + growing_rest_us(provider.downs)
    return provider.change(Health.Down, "repeated_failures", at_us, (evidence,), until_us)


def wake(provider: ProviderHealth, *, at_us: int) -> ProviderHealthChanged | None:
    """Try a provider again whose time has come."""
    if provider.health is not Health.Down or provider.until_us is None or at_us < provider.until_us:
        return None
    since = EventRef(provider_stream(provider.provider_id), provider.version)
    return provider.change(Health.Recovering, "rest_elapsed", at_us, (since,))


def succeed(provider: ProviderHealth, *, at_us: int, evidence: EventRef) -> ProviderHealthChanged | None:
    """Trust a recovering provider again that has served a request."""
    if provider.health is not Health.Recovering:
        return None
    return provider.change(Health.Healthy, "served_again", at_us, (evidence,))

"""How the fold takes in what happens to keys, quotas and providers."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from apikeyrouter.domain.events import (
    Event,
    EventRef,
    KeyMaterialRotated,
    KeyMetadataChanged,
    KeyPinned,
    KeyRegistered,
    KeyRevoked,
    KeyStateChanged,
    ModelsEquated,
    PriceBookAdopted,
    PriceSet,
    ProviderHealthChanged,
    ProviderRegistered,
    QuotaCorrected,
    QuotaLimitLearned,
)
from apikeyrouter.domain.key_metadata import declaration
from apikeyrouter.domain.keys import COOLDOWN_ELAPSED, Key
from apikeyrouter.domain.models.api_key import KeyState
from apikeyrouter.domain.offered import Offers
from apikeyrouter.domain.price_book import book_of
from apikeyrouter.domain.provider_health import Health, ProviderHealth
from apikeyrouter.domain.quota_limits import learned_limit

if TYPE_CHECKING:
    from apikeyrouter.domain.state import RouterState


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """A provider as the log tells it, and the event that said so."""

    provider_id: str
    kind: str
    base_url: str | None
    models: Offers
    ref: EventRef


def _key_registered(state: "RouterState", stream: str, version: int, event: KeyRegistered) -> None:
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
    health = state.health.get(event.provider_id)
    state.columns.set_reachable([row], reachable=health is None or health.health is not Health.Down)
    _declared(state, state.keys[key_id], ref)


def _key_metadata_changed(state: "RouterState", stream: str, version: int, event: KeyMetadataChanged) -> None:
    key = state.keys[stream.removeprefix("key-")]
    changed = msgspec.structs.replace(key, metadata=event.metadata, version=version)
    state.keys[key.key_id] = changed
    _declared(state, changed, EventRef(stream, version))


def _declared(state: "RouterState", key: Key, ref: EventRef) -> None:
    declared = declaration(key.metadata)
    state.keys[key.key_id] = msgspec.structs.replace(key, models=declared.models)
    state.allow_all_models(key.row)
    state.columns.weight[key.row] = declared.weight
    state.columns.most_in_flight[key.row] = declared.max_concurrency
    state.quotas.declare(key.key_id, key.provider_id, key.metadata, ref)
    _catalogue_changed(state)


def _key_pinned(state: "RouterState", stream: str, version: int, event: KeyPinned) -> None:
    key = state.keys[stream.removeprefix("key-")]
    state.keys[key.key_id] = msgspec.structs.replace(key, pinned=event.pinned, version=version)
    _catalogue_changed(state)


def _key_state_changed(state: "RouterState", stream: str, version: int, event: KeyStateChanged) -> None:
    key = state.keys[stream.removeprefix("key-")]
    to_state = KeyState(event.to_state)
    changed = msgspec.structs.replace(
        key,
        state=to_state,
        reason=event.trigger,
        until_us=event.until_us,
        version=version,
        rest=_rest_after(key, to_state, event),
        rejected=key.rejected or to_state is KeyState.Invalid,
        on_trial=to_state is KeyState.Recovering or event.trigger == COOLDOWN_ELAPSED,
    )
    state.replace_key(changed, EventRef(stream, version))


def _rest_after(key: Key, to_state: KeyState, event: KeyStateChanged) -> tuple[KeyState, int] | None:
    if event.until_us is not None:
        return to_state, event.until_us
    return key.rest if to_state in {KeyState.Draining, KeyState.Disabled} else None


def _key_material_rotated(state: "RouterState", stream: str, version: int, event: KeyMaterialRotated) -> None:
    key = state.keys[stream.removeprefix("key-")]
    state.fingerprints.pop(key.fingerprint, None)
    state.fingerprints[event.fingerprint] = key.key_id
    changed = msgspec.structs.replace(
        key,
        fingerprint=event.fingerprint,
        version=version,
        material_version=version,
        strikes=0,
        rest=None,
        rejected=False,
        on_trial=False,
    )
    state.allow_all_models(key.row)
    state.replace_key(changed, EventRef(stream, version))


def _key_revoked(state: "RouterState", stream: str, version: int, event: KeyRevoked) -> None:
    key = state.keys[stream.removeprefix("key-")]
    state.fingerprints.pop(key.fingerprint, None)
    changed = msgspec.structs.replace(
        key, state=KeyState.Revoked, reason=event.reason, until_us=None, version=version, on_trial=False
    )
    state.replace_key(changed, EventRef(stream, version))
    state.quotas.withdraw(key.key_id, EventRef(stream, version))
    _catalogue_changed(state)


def _provider_registered(state: "RouterState", stream: str, version: int, event: ProviderRegistered) -> None:
    listed = {offer.model: offer for offer in event.models}
    provider = Provider(
        provider_id=event.provider_id,
        kind=event.kind,
        base_url=event.base_url,
        models=Offers(listed, {}, None, (event.kind, event.base_url)),
        ref=EventRef(stream, version),
    )
    _priced_anew(state, provider)


def _price_book_adopted(state: "RouterState", stream: str, version: int, event: PriceBookAdopted) -> None:
    state.price_book = book_of(event)
    state.price_book_ref = EventRef(stream, version)
    for provider in list(state.providers.values()):
        _priced_anew(state, provider)


def _price_set(state: "RouterState", _stream: str, _version: int, event: PriceSet) -> None:
    prices = state.set_prices.setdefault(event.provider_id, {})
    if event.prices_nano_usd_per_million is None:
        prices.pop(event.model, None)
    else:
        prices[event.model] = event.prices_nano_usd_per_million
    provider = state.providers.get(event.provider_id)
    if provider is not None:
        _priced_anew(state, provider)


def _priced_anew(state: "RouterState", provider: Provider) -> None:
    place, own = (provider.kind, provider.base_url), state.set_prices.get(provider.provider_id, {})
    models = Offers(provider.models.listed, own, state.price_book, place)
    state.providers[provider.provider_id] = msgspec.structs.replace(provider, models=models)
    _catalogue_changed(state)


def _provider_health_changed(
    state: "RouterState", _stream: str, version: int, event: ProviderHealthChanged
) -> None:
    health = state.health.get(event.provider_id) or ProviderHealth(provider_id=event.provider_id)
    state.replace_health(health.changed(event, version))


def _quota_limit_learned(state: "RouterState", stream: str, version: int, event: QuotaLimitLearned) -> None:
    key = state.keys[event.key_id]
    limit = learned_limit(key.provider_id, key.key_id, key.metadata, event)
    state.quotas.learn(key.key_id, limit, event.source, EventRef(stream, version))
    _catalogue_changed(state)


def _quota_corrected(state: "RouterState", stream: str, version: int, event: QuotaCorrected) -> None:
    ref = EventRef(stream, version)
    state.quotas.correct(event.account, event.remaining, event.at_us, event.until_us, ref)


def _models_equated(state: "RouterState", _stream: str, _version: int, event: ModelsEquated) -> None:
    if event.equivalents or event.cheaper:
        state.equated[event.model] = event
    else:
        state.equated.pop(event.model, None)
    _catalogue_changed(state)


def _catalogue_changed(state: "RouterState") -> None:
    state.pools.clear()


CATALOGUE_FOLDS: dict[type[Event], Callable[["RouterState", str, int, Any], None]] = {
    KeyRegistered: _key_registered,
    KeyStateChanged: _key_state_changed,
    KeyMaterialRotated: _key_material_rotated,
    KeyMetadataChanged: _key_metadata_changed,
    KeyPinned: _key_pinned,
    KeyRevoked: _key_revoked,
    QuotaLimitLearned: _quota_limit_learned,
    QuotaCorrected: _quota_corrected,
    ProviderRegistered: _provider_registered,
    PriceBookAdopted: _price_book_adopted,
    PriceSet: _price_set,
    ModelsEquated: _models_equated,
    ProviderHealthChanged: _provider_health_changed,
}

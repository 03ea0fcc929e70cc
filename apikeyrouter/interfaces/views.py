"""Domain values as users see them."""

from typing import Any

import msgspec

from apikeyrouter.domain.catalogue_folds import Provider
from apikeyrouter.domain.keys import Key
from apikeyrouter.domain.models.api_key import APIKey
from apikeyrouter.domain.provider_health import ProviderHealth
from apikeyrouter.domain.state import RouterState
from apikeyrouter.domain.windows import moment


def api_key(state: RouterState, key: Key) -> APIKey:
    """Show a key."""
    return APIKey(
        id=key.key_id,
        provider_id=key.provider_id,
        state=key.state,
        state_until=None if key.until_us is None else moment(key.until_us),
        state_reason=key.reason,
        registered_at=moment(key.registered_at_us),
        metadata=dict(key.metadata),
        in_flight=int(state.columns.in_flight[key.row]),
        on_trial=key.on_trial,
        pinned=key.pinned,
    )


def provider_view(state: RouterState, provider: Provider) -> dict[str, Any]:
    """Show a provider, how it does and what it offers; one that is down is tried again at `health_until`."""
    health = state.health.get(provider.provider_id) or ProviderHealth(provider_id=provider.provider_id)
    return {
        "provider_id": provider.provider_id,
        "health": str(health.health),
        "health_until": None if health.until_us is None else zulu(health.until_us),
        "failures_since_success": health.failures,
        "kind": provider.kind,
        "base_url": provider.base_url,
        "models": [msgspec.to_builtins(offer) for offer in provider.models.values()],
    }


def zulu(at_us: int) -> str:
    """Write an instant in ISO 8601, UTC."""
    return moment(at_us).isoformat().replace("+00:00", "Z")

"""Route requests over many API keys, and keep every decision explainable."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apikeyrouter.domain.models.api_key import APIKey, KeyState
    from apikeyrouter.domain.models.request_intent import Message, RequestIntent
    from apikeyrouter.domain.models.routing_decision import ObjectiveType, RoutingObjective
    from apikeyrouter.domain.models.system_response import SystemResponse
    from apikeyrouter.interfaces.library import ApiKeyRouter
    from apikeyrouter.settings import RouterSettings

__all__ = [
    "APIKey",
    "ApiKeyRouter",
    "KeyState",
    "Message",
    "ObjectiveType",
    "RequestIntent",
    "RouterSettings",
    "RoutingObjective",
    "SystemResponse",
]

_HOMES = {
    "APIKey": "domain.models.api_key",
    "ApiKeyRouter": "interfaces.library",
    "KeyState": "domain.models.api_key",
    "Message": "domain.models.request_intent",
    "ObjectiveType": "domain.models.routing_decision",
    "RequestIntent": "domain.models.request_intent",
    "RouterSettings": "settings",
    "RoutingObjective": "domain.models.routing_decision",
    "SystemResponse": "domain.models.system_response",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that the command line starts quickly."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return sorted([*globals(), *__all__])

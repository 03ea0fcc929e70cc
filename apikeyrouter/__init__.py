"""Route requests over many API keys, and keep every decision explainable."""

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

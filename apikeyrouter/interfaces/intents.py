"""What users of the library want, as an order: an intent or a mapping of its fields, and an objective."""

from collections.abc import Mapping
from typing import Any

import msgspec
from pydantic import ValidationError

from apikeyrouter.application.intake import MOST_CHOICES, MOST_TOKENS, Wish, address, order
from apikeyrouter.application.origin import origin_of
from apikeyrouter.application.passage import Order
from apikeyrouter.bootstrap import Node
from apikeyrouter.domain.models.request_intent import RequestIntent
from apikeyrouter.domain.models.routing_decision import RoutingObjective
from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.domain.objectives import policy_of

Intent = RequestIntent | Mapping[str, Any]
Objective = str | RoutingObjective | Mapping[str, Any] | None


def order_of(node: Node, intent: Intent, objective: Objective, *, stream: bool = False) -> Order:
    """Make the order of an intent, or raise `InvalidRequestError` that names what is wrong with it."""
    parsed = _intent(intent)
    parameters = {**(parsed.model_extra or {}), **parsed.parameters}
    asked_provider = parameters.pop("provider_id", None) or parsed.provider_id
    provider_id, model = (
        (asked_provider, parsed.model) if asked_provider else address(node.state, parsed.model)
    )
    messages = [message.model_dump(exclude_unset=True) for message in parsed.messages]
    body = {**parameters, "model": model, "messages": messages}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    wish = Wish(
        operation="chat",
        model=model,
        provider_id=provider_id,
        stream=stream,
        needs=("tools",) if parameters.get("tools") else (),
        output_tokens_bound=_output_bound(parameters) * _choices(parameters),
        choices=_choices(parameters),
        origin=origin_of(parsed.client_id, parsed.team, parsed.tags),
    )
    return order(wish, policy_of(objective or node.settings.objective), _encode(body))


def _intent(intent: Intent) -> RequestIntent:
    if isinstance(intent, RequestIntent):
        return intent
    try:
        return RequestIntent.model_validate(intent)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidRequestError(f"intent.{where}: {first['msg']}", param=where) from None


def _encode(body: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(body)
    except (TypeError, ValueError, RecursionError, OverflowError):
        raise InvalidRequestError(
            "the intent holds values that JSON cannot carry", param="parameters"
        ) from None


def _output_bound(parameters: Mapping[str, Any]) -> int:
    """Bound one answer; where both names of the bound are given, providers differ in which one counts."""
    return max(_count(parameters, name, MOST_TOKENS) for name in ("max_completion_tokens", "max_tokens"))


def _choices(parameters: Mapping[str, Any]) -> int:
    return _count(parameters, "n", MOST_CHOICES) or 1


def _count(parameters: Mapping[str, Any], name: str, most: int) -> int:
    asked = parameters.get(name)
    if asked is None:
        return 0
    if isinstance(asked, int) and not isinstance(asked, bool) and 0 < asked <= most:
        return asked
    raise InvalidRequestError(f"{name} must be a whole number from 1 to {most:,}", param=name)

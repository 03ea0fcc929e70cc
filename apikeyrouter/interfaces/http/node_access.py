"""Give FastAPI's handlers the running node, and keep strangers from managing it."""

import hmac
from typing import Annotated

from fastapi import Depends, Request

from apikeyrouter.bootstrap import Node
from apikeyrouter.domain.models.system_error import ErrorCategory
from apikeyrouter.domain.models.system_error import (
    SystemError as RouterError,
)


class UnauthorizedError(RouterError):
    """A management call without a valid management key."""

    category = ErrorCategory.Authentication
    code = "unauthorized"
    http_status = 401


def running_node(request: Request) -> Node:
    """Return the node behind this application."""
    node: Node = request.app.state.proxy.node
    return node


NodeDependency = Annotated[Node, Depends(running_node)]


def authorized_actor(request: Request) -> str:
    """Name who manages, by the key that was given; refuse a call without one."""
    given = _given_key(request).encode()
    accepted: dict[str, str] = request.app.state.proxy.management_keys
    actors = [actor for actor, key in accepted.items() if hmac.compare_digest(given, key.encode())]
    if not actors:
        is_configured = bool(running_node(request).settings.management_api_key)
        raise UnauthorizedError(_why_refused(is_given=bool(given), is_configured=is_configured))
    return actors[0]


Actor = Annotated[str, Depends(authorized_actor)]
ManagementKey = Depends(authorized_actor)


def _why_refused(*, is_given: bool, is_configured: bool) -> str:
    if not is_configured:
        return (
            "management calls need a management key, and this server has none: "
            "set APIKEYROUTER_MANAGEMENT_API_KEY, or use the command line on the server's own machine"
        )
    if is_given:
        return "the key that was sent is not the management key of this server"
    return "management calls need the management key: send it as X-API-Key, or as Authorization: Bearer"


def _given_key(request: Request) -> str:
    api_key = request.headers.get("x-api-key")
    if api_key is not None:
        return api_key
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else ""

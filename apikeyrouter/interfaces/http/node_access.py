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


def require_management_key(request: Request) -> None:
    """Refuse a call without a management key: the configured one, or the one made for this run."""
    given = _given_key(request).encode()
    accepted: tuple[str, ...] = request.app.state.proxy.management_keys
    matches = [hmac.compare_digest(given, key.encode()) for key in accepted]
    if not any(matches):
        raise UnauthorizedError(
            "management calls need a management key, as X-API-Key or bearer token: "
            "set APIKEYROUTER_MANAGEMENT_API_KEY, or use the command line on the server's own machine"
        )


ManagementKey = Depends(require_management_key)


def _given_key(request: Request) -> str:
    api_key = request.headers.get("x-api-key")
    if api_key is not None:
        return api_key
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else ""

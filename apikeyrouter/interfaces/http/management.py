"""Everything behind the plain routes, through FastAPI: keys, budgets, audit, reports and replay."""

from typing import Protocol

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import Match

from apikeyrouter.bootstrap import Node
from apikeyrouter.domain.models.system_error import InvalidRequestError, NotFoundError
from apikeyrouter.domain.models.system_error import SystemError as RouterError
from apikeyrouter.interfaces.http import (
    audit_api,
    budgets_api,
    docs_page,
    equivalents_api,
    estimates_api,
    keys_api,
    openapi,
    payloads_api,
    prices_api,
    proofs_api,
    quotas_api,
    replay_api,
    reports_api,
    retention_api,
    what_if_api,
)
from apikeyrouter.interfaces.http.json_bodies import EveryBodyIsJson
from apikeyrouter.interfaces.http.node_access import ManagementKey
from apikeyrouter.interfaces.http.openai_errors import body_of, error_body, headers_of
from apikeyrouter.interfaces.http.plain_routes import openai_route

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class MethodNotAllowedError(InvalidRequestError):
    """There is something at this path, but not by this method."""

    code = "method_not_allowed"
    http_status = 405


class HasNode(Protocol):
    """Whoever holds the running node."""

    @property
    def node(self) -> Node:
        """The running node."""


def management_app(proxy: HasNode) -> FastAPI:
    """Build the application behind the plain routes."""
    app = FastAPI(
        title="ApiKeyRouter",
        summary="Route requests over many API keys; every decision explained, every step recorded.",
        version=openapi.VERSION,
        docs_url=None,  # FastAPI's own pages load their scripts from another host
        redoc_url=None,
    )
    app.state.proxy = proxy
    app.include_router(docs_page.router)
    app.include_router(keys_api.router, prefix="/api/v1", dependencies=[ManagementKey])
    app.include_router(quotas_api.router, prefix="/api/v1", dependencies=[ManagementKey])
    app.include_router(prices_api.router, prefix="/api/v1", dependencies=[ManagementKey])
    app.include_router(payloads_api.router, prefix="/api/v1", dependencies=[ManagementKey])
    app.include_router(budgets_api.router, prefix="/api/v1", dependencies=[ManagementKey])
    app.include_router(equivalents_api.router, prefix="/api/v1", dependencies=[ManagementKey])
    app.include_router(estimates_api.router, prefix="/api/v1", dependencies=[ManagementKey])
    app.include_router(proofs_api.router, prefix="/api/v1", dependencies=[ManagementKey])
    app.include_router(audit_api.router, prefix="/api/v1", dependencies=[ManagementKey])
    app.include_router(reports_api.router, prefix="/api/v1", dependencies=[ManagementKey])
    app.include_router(retention_api.router, prefix="/api/v1", dependencies=[ManagementKey])
    app.include_router(replay_api.router, prefix="/api/v1", dependencies=[ManagementKey])
    app.include_router(what_if_api.router, prefix="/api/v1", dependencies=[ManagementKey])
    app.add_middleware(EveryBodyIsJson)
    app.add_exception_handler(RouterError, _router_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    openapi.complete_document(app)
    return app


async def _router_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RouterError)  # noqa: S101 - registered for this type
    body = body_of(error)
    headers = {name.decode(): value.decode() for name, value in headers_of(error, body)}
    return Response(body, status_code=error.http_status, headers=headers)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        told = f"the body is not valid JSON at character {first['loc'][-1]}: {first['ctx']['error']}"
        return await _router_error(request, InvalidRequestError(told))
    where = ".".join(str(part) for part in first["loc"] if part != "body")
    told = str(first["msg"]).removeprefix("Value error, ")
    refused = InvalidRequestError(f"{where}: {told}" if where else told, param=where or None)
    return await _router_error(request, refused)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type
    if error.status_code == 404:
        return await _router_error(request, _unknown_url(request.method, request.url.path))
    if error.status_code == 405:
        return await _method_not_allowed(request)
    body = error_body(str(error.detail), status=error.status_code, code="http_error")
    return Response(body, status_code=error.status_code, headers=error.headers, media_type="application/json")


def _unknown_url(method: str, path: str) -> NotFoundError:
    told, meant = f"there is nothing at {method} {path[:200]}", openai_route(path)
    if meant is not None:
        told += f"; did you mean {' '.join(meant)}?"
        if path != meant[1]:
            told += " A client's base_url must end in /v1"
    return NotFoundError(told, code="unknown_url")


async def _method_not_allowed(request: Request) -> Response:
    allowed = ", ".join(_allowed_methods(request))
    told = f"{request.method} is not allowed at {request.url.path[:200]}, only {allowed}"
    answer = await _router_error(request, MethodNotAllowedError(told))
    answer.headers["allow"] = allowed
    return answer


def _allowed_methods(request: Request) -> list[str]:
    """Ask every route, for the error itself knows but the first at this path."""
    asked = {"type": "http", "path": request.scope["path"], "headers": []}
    return [
        method
        for method in METHODS
        if any(route.matches({**asked, "method": method})[0] is Match.FULL for route in request.app.routes)
    ]

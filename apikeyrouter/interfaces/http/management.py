"""Everything behind the plain routes, through FastAPI: keys, budgets, audit, reports and replay."""

from typing import Protocol

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

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
from apikeyrouter.interfaces.http.node_access import ManagementKey
from apikeyrouter.interfaces.http.openai_errors import body_of, error_body, headers_of


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
    where = ".".join(str(part) for part in first["loc"] if part != "body")
    told = str(first["msg"]).removeprefix("Value error, ")
    refused = InvalidRequestError(f"{where}: {told}" if where else told, param=where or None)
    return await _router_error(request, refused)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type
    if error.status_code == 404:
        unknown = NotFoundError(
            f"there is nothing at {request.method} {request.url.path[:200]}", code="unknown_url"
        )
        return await _router_error(request, unknown)
    body = error_body(str(error.detail), status=error.status_code, code="http_error")
    return Response(body, status_code=error.status_code, headers=error.headers, media_type="application/json")

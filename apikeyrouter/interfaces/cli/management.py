"""Change the catalogue and the keys: through the server that runs, else through a node of one's own.

Both speak the management API, so a command behaves the same beside a server and alone.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from apikeyrouter.domain.models.system_error import LogUnavailableError
from apikeyrouter.domain.models.system_error import SystemError as RouterError
from apikeyrouter.interfaces.cli.log_access import existing_log, log_file
from apikeyrouter.interfaces.cli.options import settings_from
from apikeyrouter.interfaces.cli.run_file import Run, running_server

if TYPE_CHECKING:
    import httpx

    from apikeyrouter.bootstrap import Node
    from apikeyrouter.settings import RouterSettings

TIMEOUT_S = 30.0
Result = TypeVar("Result")


class Management:
    """The management API, wherever it is."""

    def __init__(self, client: "httpx.AsyncClient") -> None:
        self._client = client

    async def ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """Make one call and return its answer; what the server refuses is raised with its words."""
        import httpx

        try:
            response = await self._client.request(method, f"/api/v1{path}", json=body, headers=headers)
        except httpx.TransportError as error:
            raise LogUnavailableError(
                f"the server at {self._client.base_url} does not answer ({type(error).__name__}): it may be"
                " starting or stopping; try again"
            ) from None
        if not response.is_success:
            raise _refused(response)
        return response.json()


class OwnNode(NamedTuple):
    """A node of this command's own, with a management key that nobody else learns."""

    node: "Node"
    management_keys: dict[str, str]


def manage(database: str | None, act: Callable[[Management], Awaitable[Result]]) -> Result:
    """Run one act of management to its end; where there is no log yet, it begins one."""
    settings = settings_from(database_url=database)

    async def run() -> Result:
        async with _management(settings) as management:
            return await act(management)

    return asyncio.run(run())


def manage_existing(database: str | None, act: Callable[[Management], Awaitable[Result]]) -> Result:
    """Run one act on what a log has already, or say that there is none: a new one would know nothing."""
    existing_log(settings_from(database_url=database))
    return manage(database, act)


@contextlib.asynccontextmanager
async def _management(settings: "RouterSettings") -> AsyncIterator[Management]:
    server = running_server(log_file(settings))
    async with _server(server) if server is not None else _own_node(settings) as client:
        yield Management(client)


@contextlib.asynccontextmanager
async def _server(run: Run) -> AsyncIterator["httpx.AsyncClient"]:
    import httpx

    async with httpx.AsyncClient(
        base_url=run.url,
        headers={"x-api-key": run.management_key},
        timeout=TIMEOUT_S,
        trust_env=False,  # a proxy for the world is none for this machine
    ) as client:
        yield client


@contextlib.asynccontextmanager
async def _own_node(settings: "RouterSettings") -> AsyncIterator["httpx.AsyncClient"]:
    import httpx

    from apikeyrouter.bootstrap import open_node
    from apikeyrouter.interfaces.http.management import management_app

    node = await open_node(settings)
    try:
        run_key = secrets.token_urlsafe(32)
        transport = httpx.ASGITransport(management_app(OwnNode(node, {"command-line": run_key})))
        headers = {"x-api-key": run_key}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://own-node", headers=headers
        ) as client:
            yield client
    finally:
        await node.close()


def _refused(response: "httpx.Response") -> RouterError:
    try:
        told = response.json()["error"]
        return RouterError(str(told["message"]), code=told.get("code"), param=told.get("param"))
    except (ValueError, KeyError, TypeError):
        return RouterError(f"the server answered {response.status_code} without saying why")

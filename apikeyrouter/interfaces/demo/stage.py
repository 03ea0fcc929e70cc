"""Set the stage: two scripted providers and the real proxy in this process, with the cast registered."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

from apikeyrouter.bootstrap import Node, adapter_for
from apikeyrouter.domain.models.system_error import ConfigurationError
from apikeyrouter.interfaces.demo.cast import PRICES_USD_PER_MTOK, ROLES, Cast, offers
from apikeyrouter.interfaces.http.app import Proxy
from apikeyrouter.interfaces.scripted_provider import ScriptedProvider
from apikeyrouter.interfaces.serving import ProxyServer, bound_socket, url_of
from apikeyrouter.settings import RouterSettings

ACTOR = "demo"
HOST = "127.0.0.1"
USUAL_PORT = 8000


class Stage(NamedTuple):
    """What runs: the node behind the proxy, where the proxy listens, and where the log is."""

    node: Node
    url: str
    log: Path


@contextlib.asynccontextmanager
async def stage(cast: Cast, log: Path, *, port: int | None, seed: int, run_key: str) -> AsyncIterator[Stage]:
    """Run providers and proxy as long as the context lasts."""
    async with contextlib.AsyncExitStack() as running:
        addresses = {
            provider_id: (
                await running.enter_async_context(ScriptedProvider(cast.script(provider_id, seed)))
            ).base_url
            for provider_id in PRICES_USD_PER_MTOK
        }
        settings = RouterSettings.for_server(database_url=str(log), host=HOST, synchronous="NORMAL")
        bound = running.enter_context(_socket(port))
        proxy = Proxy(settings, run_key)
        await running.enter_async_context(_served(proxy, bound))
        await _introduce(proxy.node, cast, addresses)
        yield Stage(proxy.node, url_of(bound), log)


def _socket(port: int | None) -> socket.socket:
    """Take the port that was asked for; without a wish the usual one, or any if it is taken."""
    if port is not None:
        return bound_socket(HOST, port)
    try:
        return bound_socket(HOST, USUAL_PORT)
    except ConfigurationError:
        return bound_socket(HOST, 0)


@contextlib.asynccontextmanager
async def _served(proxy: Proxy, bound: socket.socket) -> AsyncIterator[None]:
    listening = asyncio.Event()
    server = ProxyServer(proxy, on_listening=listening.set, alone=False)
    serving = asyncio.create_task(server.serve(sockets=[bound]))
    waiting = asyncio.create_task(listening.wait())
    await asyncio.wait((serving, waiting), return_when=asyncio.FIRST_COMPLETED)
    try:
        if serving.done():
            serving.result()
        yield
    finally:
        waiting.cancel()
        server.should_exit = True
        await asyncio.wait((serving,))


async def _introduce(node: Node, cast: Cast, addresses: dict[str, str]) -> None:
    for provider_id, address in addresses.items():
        adapter = adapter_for("openai", address, offers(provider_id), node.settings)
        await node.manage.register_provider(provider_id, adapter, actor=ACTOR)
    for role in ROLES:
        material = cast.materials[role.label]
        await node.manage.register_key(material, role.provider_id, cast.metadata(role), actor=ACTOR)

"""What tests of the whole line share: a scripted provider and a proxy, both on loopback."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec

from apikeyrouter.adapters.providers.openai import OpenAIAdapter
from apikeyrouter.interfaces.http.app import Proxy
from apikeyrouter.interfaces.scripted_provider import KeyScript, Script, ScriptedProvider
from apikeyrouter.interfaces.serving import ProxyServer, bound_socket
from apikeyrouter.settings import RouterSettings

ROOT = Path(__file__).resolve().parent.parent
RUN_KEY = "run-key-of-the-tests"
MODEL = "gpt-4"
QUESTION = {"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}]}


def scripted(*names: str, **behaviour: KeyScript) -> Script:
    """Script a provider with plain keys by name, and others that behave as told."""
    plain = {name: KeyScript(key=material_of(name)) for name in names}
    told = {name: _with_key(name, script) for name, script in behaviour.items()}
    return Script(keys={**plain, **told})


def material_of(name: str) -> str:
    """Return the obvious fake that stands for a key's secret."""
    return f"sk-test-{name}"


def _with_key(name: str, script: KeyScript) -> KeyScript:
    return msgspec.structs.replace(script, key=material_of(name))


class RunningProxy:
    """A proxy on loopback, its node, and a client that talks to it."""

    def __init__(self, proxy: Proxy, port: int, client: httpx.AsyncClient) -> None:
        self.proxy = proxy
        self.base_url = f"http://127.0.0.1:{port}"
        self.port = port
        self.client = client
        self.key_ids: dict[str, str] = {}

    @property
    def node(self):
        return self.proxy.node

    async def provide(self, provider: ScriptedProvider, *names: str, provider_id: str = "openai", **metadata):
        """Register a scripted provider and keys of it by name."""
        adapter = OpenAIAdapter(base_url=provider.base_url)
        await self.node.manage.register_provider(provider_id, adapter, actor="test")
        for name in names:
            key = await self.node.manage.register_key(material_of(name), provider_id, metadata, actor="test")
            self.key_ids[name] = key.key_id

    async def ask(self, **changes) -> httpx.Response:
        return await self.client.post("/v1/chat/completions", json={**QUESTION, **changes})


@contextlib.asynccontextmanager
async def running_proxy(settings: RouterSettings | None = None) -> AsyncIterator[RunningProxy]:
    """Serve a proxy in this process until the block ends."""
    proxy = Proxy(settings or RouterSettings(), run_key=RUN_KEY)
    listening = asyncio.Event()
    server = ProxyServer(proxy, on_listening=listening.set, alone=False)
    bound = bound_socket("127.0.0.1", 0)
    port = bound.getsockname()[1]
    serving = asyncio.create_task(server.serve(sockets=[bound]))
    waiting = asyncio.create_task(listening.wait())
    await asyncio.wait((serving, waiting), return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield RunningProxy(proxy, port, client)
    finally:
        server.should_exit = True
        await serving


async def eventually(condition, seconds: float = 5.0) -> None:
    """Wait until a condition holds, or fail after a deadline."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)

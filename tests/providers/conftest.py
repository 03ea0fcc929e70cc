"""Fixtures of the provider tests: both event loops, both transports, and a server that misbehaves."""

import asyncio
import ssl

import pytest
import uvloop
from raw_server import KEY, serving, tls_contexts

from apikeyrouter.adapters.providers.httptools_transport import HttptoolsTransport
from apikeyrouter.adapters.providers.httpx_transport import HttpxTransport
from apikeyrouter.adapters.providers.openai import OpenAIAdapter
from apikeyrouter.adapters.providers.transport import Deadlines
from apikeyrouter.domain.interfaces.provider_adapter import UpstreamCall

_ON_BOTH_LOOPS = {"test_transport_contract", "test_transport_faults", "test_httptools_transport"}


def pytest_asyncio_loop_factories(config, item):
    """Run what touches the loop's transports on the loop of production and on the standard one."""
    loops = {"uvloop": uvloop.new_event_loop}
    if item.path.stem in _ON_BOTH_LOOPS:
        loops["asyncio"] = asyncio.new_event_loop
    return loops


def pytest_collection_modifyitems(items):
    """Leave out httpx on the standard loop: its own tests know that loop better than we do."""
    items[:] = [item for item in items if "[asyncio-httpx" not in item.name]


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(params=["httptools", "httpx"])
async def transport(request):
    """Each implementation of the port in turn."""
    chosen = HttptoolsTransport() if request.param == "httptools" else HttpxTransport()
    yield chosen
    await chosen.close()


@pytest.fixture
async def lean():
    """Make the hot path's transport."""
    chosen = HttptoolsTransport()
    yield chosen
    await chosen.close()


@pytest.fixture
def call():
    """Make a call, with any field replaced."""

    def build(**changes):
        fields = {
            "operation": "chat",
            "model": "gpt-4o",
            "body": b'{"model":"gpt-4o","messages":[]}',
            "key_material": KEY,
            "deadline_us": 5_000_000,
        }
        return UpstreamCall(**(fields | changes))

    return build


@pytest.fixture
async def upstream():
    """Start a scripted server and an adapter that talks to it."""
    stack = []

    async def start(script, **options):
        server = await serving(script)
        options.setdefault("deadlines", Deadlines(connect_s=2, first_byte_s=2, idle_s=2, total_s=5))
        adapter = OpenAIAdapter(server.url + "/v1", **options)
        stack.extend((adapter, server))
        return server, adapter

    yield start
    for resource in stack:
        await resource.close()


@pytest.fixture
async def server_for():
    """Start scripted servers and stop them at the end."""
    servers = []

    async def start(script, **options):
        servers.append(await serving(script, **options))
        return servers[-1]

    yield start
    for server in servers:
        await server.close()


@pytest.fixture(scope="session")
def tls(tmp_path_factory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Make a certificate for loopback: the server's context and a client's that trusts it."""
    return tls_contexts(tmp_path_factory.mktemp("tls"))

"""What most processes never need is not made before it is asked for, and then once."""

import asyncio
import sys
import textwrap

import pytest
from loopback import running_proxy

from apikeyrouter.interfaces.http.late_app import LateApp


async def _ask(app, path="/"):
    sent = []

    async def send(message):
        sent.append(message)

    await app({"type": "http", "path": path}, None, send)
    return sent


def _made_of(made):
    async def app(scope, _receive, send):
        await send(scope["path"])

    made.append(app)
    return app


async def test_it_is_made_once_for_all_who_ask_at_first():
    """Ten first requests at once: each is served, by one application."""
    made = []
    late = LateApp(lambda: _made_of(made))
    assert not made
    answers = await asyncio.gather(*(_ask(late, f"/{number}") for number in range(10)))
    assert answers == [[f"/{number}"] for number in range(10)]
    assert len(made) == 1


async def test_if_it_cannot_be_made_the_next_request_tries_again():
    """Out of memory or of files, say; what failed is not kept."""
    made, faults = [], [OSError("too many open files")]

    def make():
        if faults:
            raise faults.pop()
        return _made_of(made)

    late = LateApp(make)
    with pytest.raises(OSError, match="too many"):
        await _ask(late)
    assert await _ask(late, "/again") == ["/again"]


SERVED_WITHOUT = textwrap.dedent(
    """
    import asyncio, sys
    from loopback import running_proxy, scripted
    from apikeyrouter.interfaces.scripted_provider import ScriptedProvider

    async def main():
        async with ScriptedProvider(scripted("a")) as provider, running_proxy() as proxy:
            await proxy.provide(provider, "a")
            before = set(sys.modules)
            assert (await proxy.ask()).status_code == 200
            for path in ("/health", "/health/live", "/metrics", "/v1/models", "/v1/models/gpt-4"):
                assert (await proxy.client.get(path)).status_code in {200, 404}, path
            print("apikeyrouter.interfaces.http.management" in sys.modules)
            assert (await proxy.client.get("/openapi.json")).status_code == 200
            print("apikeyrouter.interfaces.http.management" in sys.modules)

    asyncio.run(main())
    """
)


async def test_requests_and_probes_are_served_without_it():
    """A process that nobody manages never loads the management API; the first who does finds it there."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SERVED_WITHOUT),
        cwd="tests",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, told = await process.communicate()
    assert out.decode().split() == ["False", "True"], told.decode()


@pytest.mark.parametrize("path", ["/health", "/health/live", "/metrics", "/v1/models"])
async def test_whoever_only_wants_the_head_gets_it(path):
    """Load balancers ask by HEAD: the status and the length, and no body."""
    async with running_proxy() as proxy:
        answer = await proxy.client.head(path)
    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) > 0
    assert not answer.content

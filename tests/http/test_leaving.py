"""Nobody works for a client that has left, and nobody hurries ahead of one that reads slowly."""

import asyncio

import pytest
from bare_server import also_under_bare_uvicorn
from loopback import QUESTION, eventually, running_proxy, scripted

from apikeyrouter.domain.events import RequestCancelled
from apikeyrouter.interfaces.http.leaving import CancelledWhenClientLeaves
from apikeyrouter.interfaces.http.own_protocol import NAME
from apikeyrouter.interfaces.scripted_provider import KeyScript, ScriptedProvider

SILENT = KeyScript(latency_ms=20_000)
TALKATIVE = KeyScript(output_tokens=4_000_000, tokens_per_event=4_000)
"""More than what the buffers of two connections hold together."""


@pytest.mark.parametrize("kibibytes", [1, 200, 300])
@pytest.mark.parametrize("ours", [True, False])
async def test_the_upstream_call_ends_when_the_client_leaves(ours, kibibytes):
    """Under our own server and under any other; a large body must not make it deaf."""
    content = {"messages": [{"role": "user", "content": "x" * 1024 * kibibytes}]}
    async with (
        ScriptedProvider(scripted(a=SILENT)) as provider,
        running_proxy() as proxy,
        also_under_bare_uvicorn(proxy) as theirs,
    ):
        await proxy.provide(provider, "a")
        client = proxy.client if ours else theirs
        asking = asyncio.create_task(client.post("/v1/chat/completions", json={**QUESTION, **content}))
        await eventually(lambda: provider.ledger().keys["a"].open == 1)
        await asyncio.sleep(0.1)  # any other server is asked from then on
        asking.cancel()
        await eventually(lambda: provider.ledger().keys["a"].aborted == 1, 2)
        await eventually(lambda: not proxy.node.state.open_requests)
        *_, last = proxy.node.reader.read()
    assert isinstance(last.event, RequestCancelled)


@pytest.mark.parametrize("ours", [True, False])
async def test_whoever_is_cancelled_by_others_is_not_taken_for_one_whose_client_left(ours):
    """A shutdown, say: that cancellation goes on, where that of a client who left ends with the block."""
    left = asyncio.Event()
    waiting = set()
    scope = {"extensions": {NAME: {"waiting": waiting, "listen": lambda _send: None}}} if ours else {}

    async def receive():
        await left.wait()
        return {"type": "http.disconnect"}

    async def work():
        with CancelledWhenClientLeaves(scope, receive, None):
            await asyncio.sleep(20)
        return asyncio.current_task().cancelling()

    async def working():
        task = asyncio.create_task(work())
        await asyncio.sleep(0.1)
        return task

    shut_down = await working()
    shut_down.cancel()
    with pytest.raises(asyncio.CancelledError):
        await shut_down
    assert not waiting
    await asyncio.sleep(0)
    assert not [task for task in asyncio.all_tasks() if "disconnect" in repr(task.get_coro())]
    abandoned = await working()
    left.set()
    if ours:
        waiting.pop().cancel()
    assert await abandoned == 0


async def test_the_provider_waits_for_a_client_that_does_not_read():
    """What a stream is ahead of its reader stays in buffers of a bounded size; nothing is lost of it."""
    body = b'{"model":"gpt-4","stream":true,"messages":[{"role":"user","content":"x"}]}'
    ask = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    async with ScriptedProvider(scripted(a=TALKATIVE)) as provider, running_proxy() as proxy:
        await proxy.provide(provider, "a")
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port, limit=1024)
        writer.write(ask)
        await asyncio.sleep(1.0)
        assert provider.ledger().keys["a"].open == 1
        read = b""
        while not read.endswith(b"0\r\n\r\n"):
            read += await reader.read(1 << 20)
        writer.close()
    assert read.count(b"data: ") > 4_000_000 // 4_000
    assert b"data: [DONE]" in read[-64:]

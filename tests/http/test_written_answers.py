"""The head of an answer is the same under our own server as under any other, and no header ends early."""

import asyncio
import gc

import pytest
from bare_server import also_under_bare_uvicorn
from hypothesis import given
from hypothesis import strategies as st
from loopback import QUESTION, running_proxy, scripted
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from apikeyrouter.interfaces.http.answers import checked
from apikeyrouter.interfaces.http.own_protocol import NAME
from apikeyrouter.interfaces.scripted_provider import ScriptedProvider

CONTROLS = [chr(code) for code in (*range(0x09), *range(0x0A, 0x20), 0x7F)]


@pytest.mark.parametrize("stream", [False, True])
async def test_heads_are_the_same_under_our_server_and_under_any_other(stream):
    """Same status, same headers in the same words (their values differ by request), same framing."""
    async with ScriptedProvider(scripted("a")) as provider, running_proxy() as proxy:
        await proxy.provide(provider, "a")
        ours = await proxy.ask(stream=stream)
        async with also_under_bare_uvicorn(proxy) as client:
            theirs = await client.post("/v1/chat/completions", json={**QUESTION, "stream": stream})
    assert ours.status_code == theirs.status_code == 200
    assert list(ours.headers) == list(theirs.headers)
    assert ours.headers["content-type"] == theirs.headers["content-type"]
    assert ("transfer-encoding" in ours.headers) is stream
    assert len(ours.content) == len(theirs.content) > 0


async def test_a_connection_that_is_to_close_is_told_so_and_closed():
    """HTTP/1.0, or `Connection: close`: the head says it, the body is whole, the connection ends."""
    async with ScriptedProvider(scripted("a")) as provider, running_proxy() as proxy:
        await proxy.provide(provider, "a")
        answer = await proxy.client.post(
            "/v1/chat/completions", json=QUESTION, headers={"connection": "close"}
        )
        assert answer.headers["connection"] == "close"
        assert answer.json()["choices"]
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        body = b'{"model": "gpt-4", "messages": [{"role": "user", "content": "x"}]}'
        writer.write(
            b"POST /v1/chat/completions HTTP/1.0\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )
        head, _, rest = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    assert b"connection: close" in head.lower()
    assert rest.endswith(b"}")


async def test_a_client_that_left_before_the_head_is_no_error(capsys):
    """The answer is thrown away, and the next request on a new connection is served."""
    async with ScriptedProvider(scripted("a")) as provider, running_proxy() as proxy:
        await proxy.provide(provider, "a")
        for _ in range(20):
            _, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            body = b'{"model": "gpt-4", "messages": [{"role": "user", "content": "x"}]}'
            writer.write(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b"
                % (len(body), body)
            )
            await writer.drain()
            await asyncio.sleep(0.001)
            writer.close()
        assert (await proxy.ask()).status_code == 200
    assert "Traceback" not in capsys.readouterr().err


line = st.text(st.characters(min_codepoint=0x20, exclude_characters=["\x7f"], exclude_categories=["Cs"]))


@given(st.lists(line, min_size=1))
def test_a_block_holds_every_line_as_it_was_given(lines):
    """Splitting the block gives the lines back."""
    assert checked(lines).decode().split("\r\n") == lines


@given(st.lists(line, min_size=1), st.data(), st.sampled_from([*CONTROLS, "\r\n"]))
def test_no_line_with_a_control_character_gets_out(lines, data, control):
    """Wherever it stands, and if it looks like the end of a line: a header could begin behind it."""
    place = data.draw(st.integers(0, len(lines) - 1))
    cut = data.draw(st.integers(0, len(lines[place])))
    lines[place] = lines[place][:cut] + control + lines[place][cut:]
    with pytest.raises(ValueError, match="control character"):
        checked(lines)


async def test_a_request_leaves_no_garbage_behind_for_the_collector():
    """What an answered request has used is freed by reference counts, or memory grows between collections."""
    async with ScriptedProvider(scripted("a")) as provider, running_proxy() as proxy:
        await proxy.provide(provider, "a")
        for stream in (False, True):
            await proxy.ask(stream=stream)
        gc.collect()
        gc.disable()
        try:
            for stream in (False, True, False, True):
                await proxy.ask(stream=stream)
            cycles = [one for one in gc.get_objects() if isinstance(one, RequestResponseCycle)]
            left = [one for one in cycles if NAME in one.scope.get("extensions", {})]
        finally:
            gc.enable()
    assert len(left) <= 1  # that of the open connection

"""A key that goes out comes back nowhere: not in errors, not in representations, logs or answers."""

import asyncio
import json
import logging
import traceback

import pytest
from raw_server import KEY, answering, chunked, json_response, response

from apikeyrouter.adapters.providers.httptools_transport import HttptoolsTransport
from apikeyrouter.adapters.providers.httpx_transport import HttpxTransport
from apikeyrouter.adapters.providers.redaction import Mask
from apikeyrouter.adapters.providers.transport import Deadlines, HttpRequest
from apikeyrouter.domain.failures import AttemptFailedError

SHAPES = [
    KEY,
    "sk-proj-Zq8_Wm3-Tn5vXc7bRk2yLp9hGd4fJs6aEu1iOo0",
    "AIzaSyCanary-0123456789abcdefghijklm",
    "gsk_canary0123456789ABCDEFGHIJ",
    "quote\"in'the-canary-key-0123456789",
    "slash/and\\backslash-canary-0123456789",
    "percent%0d%0aencoded-canary-0123456789",
    "canary-with\r\nX-Evil: 1-0123456789",
    "canary-with\0nul-0123456789abcdef",
    "canary-klíč-ž-0123456789abcdef",
    "eyJhbGciOiJIUzI1NiJ9.eyJjYW5hcnkiOjF9.c2lnbmF0dXJl",
]
CUT = response(b"x" * 50)[:-1]
MISHAPS = {
    "refused": answering(json_response(b'{"error": {"code": "invalid_api_key"}}', status="401 No")),
    "server error": answering(response(b"<html>", status="500 No")),
    "nonsense": answering(b"SSH-2.0\r\n\r\n"),
    "malformed": answering(response(b"not json")),
    "huge head": answering(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 300_000),
}


def texts_of(error):
    """Return all that a log could show of an exception: the whole chain, and what hangs on it."""
    while error is not None:
        yield "".join(traceback.format_exception(error))
        yield repr(error) + str(error) + repr(error.args) + repr(vars(error))
        error = error.__cause__ or error.__context__


def assert_clean(text, material):
    """No run of eight characters of the key may occur."""
    for at in range(len(material) - 7):
        assert material[at : at + 8] not in text


@pytest.mark.parametrize("material", SHAPES)
@pytest.mark.parametrize("mishap", MISHAPS)
@pytest.mark.parametrize("transport", [HttptoolsTransport, HttpxTransport])
async def test_no_error_or_log_line_shows_a_key(upstream, call, caplog, material, mishap, transport):
    """Whatever goes wrong, and whatever the key looks like, its text stays out of every error."""
    caplog.set_level(logging.DEBUG)
    _, adapter = await upstream(MISHAPS[mishap], transport=transport())
    for attempt in (adapter.execute, adapter.open_stream):
        with pytest.raises(AttemptFailedError) as caught:
            await attempt(call(key_material=material))
        for text in texts_of(caught.value):
            assert_clean(text, material)
    assert_clean(caplog.text, material)
    await adapter._transport.close()


async def test_a_cut_and_a_cancelled_call_show_no_key(upstream, call, caplog):
    """Neither a broken connection nor a client's leaving writes the key anywhere."""

    async def script(peer):
        await peer.request()
        await peer.send(CUT)
        peer.reset()

    _, adapter = await upstream(script)
    with pytest.raises(AttemptFailedError) as caught:
        await adapter.execute(call())
    calling = asyncio.create_task(adapter.execute(call()))
    await asyncio.sleep(0)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    for text in (*texts_of(caught.value), caplog.text, repr(calling)):
        assert_clean(text, KEY)


def test_representations_show_no_key(call):
    """What carries a key does not print it."""
    headers = [("authorization", f"Bearer {KEY}")]
    request = HttpRequest(
        method="POST", url="http://x/", headers=headers, body=KEY.encode(), deadlines=Deadlines()
    )
    for thing in (request, call(), Mask(KEY), [request], {"call": call()}):
        assert_clean(repr(thing) + str(thing), KEY)


class TestAnEcho:
    @pytest.mark.parametrize(
        "material", [m for m in SHAPES if m.isascii() and m.isprintable() and " " not in m]
    )
    async def test_in_an_answer_is_masked(self, upstream, call, material):
        """A provider that returns the key it was sent does not reach the client with it."""
        answer = {
            "model": material,
            "choices": [{"message": {"content": f"it is {material}"}, "finish_reason": material}],
        }
        body = json.dumps(answer, ensure_ascii=False).encode()
        echo = response(body, headers=(f"X-Request-Id: {material}",))
        _, adapter = await upstream(answering(echo))
        got = await adapter.execute(call(key_material=material))
        assert len(got.body) == len(body)
        assert material not in json.dumps(json.loads(got.body), ensure_ascii=False)
        assert_clean(repr((got.model, got.finish_reason, got.upstream_request_id)), material)

    @pytest.mark.parametrize("escape", [False, True])
    async def test_in_an_error_is_masked(self, upstream, call, escape):
        """Neither the body for the client nor the code for the log holds the key, escaped or not."""
        written = "".join(f"\\u{ord(c):04x}" for c in KEY) if escape else KEY
        body = b'{"error": {"message": "bad %s", "code": "%s", "type": "%s"}}' % ((written.encode(),) * 3)
        _, adapter = await upstream(answering(json_response(body, status="400 No")))
        with pytest.raises(AttemptFailedError) as caught:
            await adapter.execute(call())
        failure = caught.value.failure
        assert json.loads(failure.body)["error"]["message"] == "bad " + "*" * len(KEY)
        assert_clean(repr(failure) + repr(json.loads(failure.body)), KEY)

    async def test_in_a_stream_is_masked(self, upstream, call):
        """Events are masked before they are read or forwarded."""
        data = {"model": KEY, "choices": [{"delta": {"content": KEY}, "finish_reason": KEY}]}
        event = b"data: " + json.dumps(data).encode() + b"\n\n"
        done = chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n"
        head = ("Content-Type: text/event-stream", "Transfer-Encoding: chunked", f"X-Request-Id: {KEY}")

        async def script(peer):
            await peer.request()
            await peer.send(response(framing="none", headers=head), chunked(event * 2), done)

        _, adapter = await upstream(script)
        stream = await adapter.open_stream(call())
        passed = b"".join([chunk async for chunk in stream])
        assert len(passed) == len(event) * 2 + 14
        assert_clean(
            passed.decode() + repr((stream.model, stream.finish_reason, stream.upstream_request_id)), KEY
        )

    async def test_of_a_placeholder_is_left_alone(self, upstream, call):
        """Keyless servers are given words as keys, and words may stand in answers."""
        body = b'{"choices": [{"message": {"content": "EMPTY"}}]}'
        _, adapter = await upstream(answering(json_response(body)))
        assert (await adapter.execute(call(key_material="EMPTY"))).body == body

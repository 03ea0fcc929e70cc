"""Each fault does on the wire what its name says, and the ledger knows it."""

import asyncio
import json
import zlib

import pytest
from provider_talk import Talk, ask, request

from apikeyrouter.interfaces.scripted_provider import Fault, FaultKind, KeyScript, Script, ScriptedProvider


def faulty(kind: str, **details) -> ScriptedProvider:
    """Return a provider whose one key always has this fault."""
    fault = Fault(kind=FaultKind(kind), **details)
    return ScriptedProvider(Script(keys={"alpha": KeyScript(key="sk-a", faults=(fault,))}))


async def tally_when_closed(provider):
    ledger = await provider.until(lambda ledger: ledger.keys["alpha"].open == 0)
    return ledger.keys["alpha"]


class TestInsteadOfAnAnswer:
    async def test_a_status_with_everything_that_the_script_says(self):
        """Code, message, headers and the time to come again are the script's; `{key}` is the key."""
        told = {
            "code": "gone",
            "message": "No {key}",
            "retry_after": "soon",
            "headers": {"Location": "http://x/"},
        }
        async with faulty("status", status=302, **told) as provider:
            head, body = await ask(provider)
            ledger = provider.ledger()
        assert head.startswith(b"HTTP/1.1 302")
        assert b"\r\nretry-after: soon\r\n" in head
        assert b"\r\nlocation: http://x/\r\n" in head
        assert json.loads(body)["error"] == {
            "message": "No sk-a",
            "type": "gone",
            "param": None,
            "code": "gone",
        }
        assert ledger.keys["alpha"].by_fault == {"status": 1}
        assert ledger.bill == []

    async def test_a_page_instead_of_json(self):
        """A success that is a page of HTML."""
        async with faulty("html") as provider:
            head, body = await ask(provider)
        assert head.startswith(b"HTTP/1.1 200")
        assert b"text/html" in head
        assert body.startswith(b"<html>")

    async def test_nothing(self):
        """A success without a body."""
        async with faulty("empty") as provider:
            head, body = await ask(provider)
        assert head.startswith(b"HTTP/1.1 200")
        assert body == b""

    async def test_silence(self):
        """Nothing comes until the client gives up, and that is noticed."""
        async with faulty("hang_before_headers") as provider, Talk(provider) as talk:
            talk.send(request())
            await provider.until(lambda ledger: ledger.keys["alpha"].open == 1)
            talk.writer.write_eof()
            tally = await tally_when_closed(provider)
            assert await talk.rest() == b""
        assert (tally.aborted, tally.by_status) == (1, {})

    async def test_silence_after_the_headers(self):
        """Headers come, then nothing until the client gives up."""
        async with faulty("hang_after_headers") as provider:
            async with Talk(provider) as talk:
                talk.send(request())
                assert (await talk.head()).startswith(b"HTTP/1.1 200")
            tally = await tally_when_closed(provider)
        assert (tally.aborted, tally.by_status) == (1, {200: 1})

    async def test_a_cut_before_the_headers(self):
        """The connection closes without a byte."""
        async with faulty("cut_before_headers") as provider, Talk(provider) as talk:
            talk.send(request())
            assert await talk.rest() == b""
            tally = await tally_when_closed(provider)
        assert (tally.cut, tally.aborted) == (1, 0)

    @pytest.mark.parametrize("kind", ["endless_headers", "endless_body"])
    async def test_what_does_not_end(self, kind):
        """More and more comes, until the client leaves."""
        async with faulty(kind) as provider:
            async with Talk(provider) as talk:
                talk.send(request())
                async with asyncio.timeout(5):
                    received = await talk.reader.readexactly(200_000)
            tally = await tally_when_closed(provider)
        assert received.startswith(b"HTTP/1.1 200")
        assert (b"\r\n\r\n" in received) == (kind == "endless_body")
        assert tally.aborted == 1

    async def test_a_bomb(self):
        """A small packed body unpacks to a thousand times its size."""
        async with faulty("gzip_bomb") as provider, Talk(provider) as talk:
            talk.send(request())
            head = await talk.head()
            packed = b""
            async with asyncio.timeout(5):
                while len(packed) < 20_000:
                    size = int(await talk.reader.readline(), 16)
                    packed += (await talk.reader.readexactly(size + 2))[:-2]
        assert b"content-encoding: gzip" in head
        unpacked = zlib.decompressobj(wbits=31).decompress(packed, 10_000_000)
        assert len(unpacked) == 10_000_000


class TestInTheDelivery:
    async def test_truncated_json(self):
        """A complete exchange whose JSON is not complete."""
        async with faulty("truncated_json") as provider:
            _, body = await ask(provider)
            tally = provider.ledger().keys["alpha"]
        with pytest.raises(json.JSONDecodeError):
            json.loads(body)
        assert body.startswith(b'{"id":')
        assert tally.output_tokens == 32

    async def test_a_wrong_content_type(self):
        """A good body under a wrong name."""
        async with faulty("wrong_content_type") as provider:
            head, body = await ask(provider)
        assert b"content-type: text/plain\r\n" in head
        assert json.loads(body)["object"] == "chat.completion"

    async def test_a_trickle(self):
        """Byte follows byte; a client that leaves is noticed in between."""
        async with faulty("trickle", every_ms=1) as provider:
            async with Talk(provider) as talk:
                talk.send(request())
                await talk.head()
                async with asyncio.timeout(5):
                    parts = [await talk.reader.read(1000) for _ in range(5)]
            tally = await tally_when_closed(provider)
        assert all(len(part) < 100 for part in parts)
        assert tally.aborted == 1

    async def test_a_trickle_arrives(self):
        """A trickle without pauses is the whole answer."""
        async with faulty("trickle", every_ms=0) as provider:
            _, body = await ask(provider)
        assert json.loads(body)["usage"]["completion_tokens"] == 32

    async def test_a_cut_in_the_body(self):
        """Half of the announced bytes come, then the connection closes."""
        async with faulty("cut_mid_body") as provider, Talk(provider) as talk:
            talk.send(request())
            head = await talk.head()
            announced = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            assert len(await talk.rest()) == announced // 2
            tally = await tally_when_closed(provider)
        assert (tally.cut, tally.aborted, tally.by_status) == (1, 0, {200: 1})

    @pytest.mark.parametrize(
        ("kind", "end"),
        [
            ("cut_mid_stream", b"}\n\n\r\n"),
            ("cut_mid_event", None),
            ("cut_mid_character", b'data: {"choices":[{"delta":{"content":"\xc3\r\n'),
        ],
    )
    async def test_a_cut_in_the_stream(self, kind, end):
        """Events come, then the connection closes: after an event, in one, or in a character."""
        async with faulty(kind) as provider, Talk(provider) as talk:
            talk.send(request(stream=True))
            await talk.head()
            received = await talk.rest()
            tally = await tally_when_closed(provider)
        assert b"[DONE]" not in received
        assert not received.endswith(b"0\r\n\r\n")
        assert received.endswith(end) if end else not received.endswith(b"\n\n\r\n")
        assert tally.cut == 1
        assert 0 < tally.output_tokens < 32

    async def test_a_missing_done(self):
        """The stream ends well, without its last event."""
        async with faulty("missing_done") as provider, Talk(provider) as talk:
            talk.send(request(stream=True))
            received = await talk.stream()
        assert b'"finish_reason":"stop"' in received
        assert b"[DONE]" not in received

    async def test_an_error_in_the_stream(self):
        """Half of the stream, then an error event, then the end without `[DONE]`."""
        async with faulty("error_event", message="broken", code="odd") as provider, Talk(provider) as talk:
            talk.send(request(stream=True))
            received = await talk.stream()
        assert b'"message":"broken"' in received
        assert b'"code":"odd"' in received
        assert b"[DONE]" not in received

    async def test_a_connection_that_closes_after_the_answer(self):
        """The answer is whole, says nothing of closing, and the connection closes."""
        async with faulty("close_after_answer") as provider, Talk(provider) as talk:
            talk.send(request())
            head, body = await talk.answer()
            assert await talk.rest() == b""
            tally = await tally_when_closed(provider)
        assert b"connection: close" not in head
        assert json.loads(body)["usage"]["completion_tokens"] == 32
        assert (tally.cut, tally.aborted) == (0, 0)


class TestInWhatIsSaid:
    async def test_usage_missing(self):
        """The answer does not tell its usage, whole or streamed, but the ledger counts it."""
        async with faulty("usage_missing") as provider, Talk(provider) as talk:
            _, body = await ask(provider)
            talk.send(request(stream=True, stream_options={"include_usage": True}))
            received = await talk.stream()
            tally = await tally_when_closed(provider)
        assert "usage" not in json.loads(body)
        assert b"usage" not in received
        assert tally.output_tokens == 64

    @pytest.mark.parametrize(
        ("usage", "literal"),
        [
            ("negative", b"-5"),
            ("infinite", b"1e400"),
            ("overflow", b"1" + b"0" * 30),
            ("text", b'"many"'),
            ("null", b"null"),
        ],
    )
    async def test_usage_absurd(self, usage, literal):
        """The usage is what no provider could mean, whole and streamed."""
        async with faulty("usage_absurd", usage=usage) as provider, Talk(provider) as talk:
            _, body = await ask(provider)
            talk.send(request(stream=True, stream_options={"include_usage": True}))
            received = await talk.stream()
            tally = await tally_when_closed(provider)
        for answer in (body, received):
            assert b'"completion_tokens":' + literal + b"," in answer
        assert tally.output_tokens == 64

    @pytest.mark.parametrize("stream", [False, True])
    async def test_an_echo_of_the_key(self, stream):
        """The answer holds the key that was sent."""
        async with faulty("echo_key") as provider, Talk(provider) as talk:
            talk.send(request(stream=stream))
            body = await talk.stream() if stream else (await talk.answer())[1]
        said = b"".join(part.split(b'"')[0] for part in body.split(b'"content":"')[1:])
        assert said == b"You sent sk-a "


class TestChance:
    async def test_the_same_seed_fails_the_same_calls(self):
        """Which calls a probability strikes depends on the seed and the key's name alone."""

        async def statuses(seed):
            fault = Fault(kind=FaultKind.Status, status=500, probability=0.5)
            script = Script(seed=seed, keys={"alpha": KeyScript(key="sk-a", faults=(fault,))})
            async with ScriptedProvider(script) as provider:
                return [int((await ask(provider))[0].split()[1]) for _ in range(24)]

        first, again, other = await statuses(1), await statuses(1), await statuses(2)
        assert first == again != other
        assert set(first) == {200, 500}

    async def test_the_first_fault_that_strikes_acts(self):
        """Faults stand in order: dead after two calls, flaky at the first."""
        faults = (
            Fault(kind=FaultKind.Status, status=401, after=2),
            Fault(kind=FaultKind.Status, status=500, first=1),
        )
        async with ScriptedProvider(Script(keys={"alpha": KeyScript(key="sk-a", faults=faults)})) as provider:
            statuses = [(await ask(provider))[0].split()[1] for _ in range(4)]
        assert statuses == [b"500", b"200", b"401", b"401"]


class TestPace:
    async def test_a_whole_answer_waits_for_latency_and_tokens(self):
        """Thinking and the tokens' time stand between question and answer."""
        script = Script(keys={"alpha": KeyScript(key="sk-a", latency_ms=(10, 20), token_ms=2)})
        async with ScriptedProvider(script) as provider:
            await ask(provider, max_tokens=10)
            (call,) = provider.ledger().calls
        assert call.ended_us - call.at_us >= 29_000

    async def test_a_stream_comes_token_by_token(self):
        """A client that leaves a stream midway is noticed, and billed for what came."""
        script = Script(keys={"alpha": KeyScript(key="sk-a", token_ms=5, output_tokens=1000)})
        async with ScriptedProvider(script) as provider:
            async with Talk(provider) as talk:
                talk.send(request(stream=True))
                async with asyncio.timeout(5):
                    await talk.reader.readuntil(b'{"content":"')
            tally = await tally_when_closed(provider)
            (line,) = provider.ledger().bill
        assert tally.aborted == 1
        assert tally.last_aborted_us >= tally.first_call_us
        assert 1 <= tally.output_tokens == line.output_tokens < 1000

    async def test_a_client_that_stops_reading_and_leaves(self):
        """A stream without pauses notices too that nobody is left to read it."""
        script = Script(keys={"alpha": KeyScript(key="sk-a", tokens_per_event=1000, output_tokens=4_000_000)})
        async with ScriptedProvider(script) as provider:
            async with Talk(provider) as talk:
                talk.send(request(stream=True))
                await talk.head()
            tally = await tally_when_closed(provider)
        assert tally.aborted == 1
        assert tally.output_tokens < 4_000_000

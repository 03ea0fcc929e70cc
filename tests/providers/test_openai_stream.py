"""The OpenAI adapter, streams: events pass untouched, and every end that is none is told."""

import asyncio
import gzip

import pytest
from raw_server import answering, chunked, json_response, response, until
from stream_events import (
    DONE,
    EVENTS,
    HEAD,
    LAST,
    USAGE,
    error_event,
    event,
    of_responses,
    read_out,
    streaming,
)

from apikeyrouter.adapters.providers import openai_stream
from apikeyrouter.adapters.providers.sse import EventSplitter
from apikeyrouter.domain.failures import AttemptFailedError, FailureClass
from apikeyrouter.domain.interfaces.provider_adapter import Usage


async def open_failure(adapter, call):
    with pytest.raises(AttemptFailedError) as caught:
        await adapter.open_stream(call)
    return caught.value.failure


class TestAStreamThatEndsWell:
    async def test_events_pass_untouched_and_tell_what_routing_wants(self, upstream, call):
        """Every byte is forwarded; usage, model, reason and id are read on the way."""
        server, adapter = await upstream(streaming(*EVENTS))
        stream = await adapter.open_stream(call())
        passed, failed = await read_out(stream)
        assert (passed, failed) == (b"".join(EVENTS), None)
        assert (stream.usage, stream.finish_reason) == (Usage(11, 2), "stop")
        assert (stream.model, stream.upstream_request_id) == ("gpt-4o-2024-08-06", "req_9")
        assert b"accept: text/event-stream" in server.requests[0]

    @pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" , ", " :  ")])
    async def test_any_spacing_is_read(self, upstream, call, separators):
        """Providers write their JSON as they like."""
        events = [
            event(content='{"usage": {"x"', separators=separators),
            event("length", separators=separators),
        ]
        events += [event(usage=USAGE, separators=separators), DONE]
        _, adapter = await upstream(streaming(*events))
        stream = await adapter.open_stream(call())
        assert await read_out(stream) == (b"".join(events), None)
        assert (stream.usage, stream.finish_reason) == (Usage(11, 2), "length")

    async def test_the_first_event_opens_the_stream_before_the_second_exists(self, upstream, call):
        """What has arrived is handed on at once."""
        proceed = asyncio.Event()

        async def script(peer):
            await peer.request()
            await peer.send(HEAD, chunked(event()))
            await proceed.wait()
            await peer.send(chunked(event("stop")), chunked(DONE), LAST)

        _, adapter = await upstream(script)
        stream = await adapter.open_stream(call())
        assert await anext(aiter(stream)) == event()
        proceed.set()
        assert await read_out(stream) == (event("stop") + DONE, None)

    async def test_comments_alone_do_not_open_the_stream(self, upstream, call):
        """Until the first event another key may be tried; a comment kept waiting is not lost."""
        _, adapter = await upstream(streaming(b": processing\n\n", b": still\n\n", *EVENTS))
        stream = await adapter.open_stream(call())
        passed, _ = await read_out(stream)
        assert passed == b": processing\n\n: still\n\n" + b"".join(EVENTS)
        for events in ((b": processing\n\n", error_event()), (b": processing\n\n" + error_event(),)):
            _, adapter = await upstream(streaming(*events))
            assert (await open_failure(adapter, call())).failure_class is FailureClass.QuotaExhausted

    async def test_contents_that_look_like_marks_are_only_contents(self, upstream, call):
        """A model may write about `[DONE]`, errors and usage without ending its stream."""
        written = 'data: [DONE]\n\n {"error": {"code": "insufficient_quota"}} "usage":{"prompt_tokens":9}'
        events = [event(), event(content=written), *EVENTS[2:]]
        _, adapter = await upstream(streaming(*events))
        stream = await adapter.open_stream(call())
        assert await read_out(stream) == (b"".join(events), None)
        assert stream.usage == Usage(11, 2)

    async def test_the_connection_is_used_again(self, upstream, call):
        """A finished stream frees its connection, closed or not, though its last bytes come later."""
        server, adapter = await upstream(streaming(*EVENTS))
        for _ in range(3):
            stream = await adapter.open_stream(call())
            await read_out(stream)
            stream.close()
            await until(lambda: any(adapter._transport._idle.values()))
        assert len(server.peers) == 1

    async def test_nothing_after_the_end_is_forwarded(self, upstream, call):
        """The last chunk holds `[DONE]` and ends with it."""
        _, adapter = await upstream(streaming(event(), DONE + event(content="after")))
        assert await read_out(await adapter.open_stream(call())) == (event() + DONE, None)

    @pytest.mark.parametrize("usage", [{"prompt_tokens": -1, "completion_tokens": 1}, {}, "many", [1]])
    async def test_an_absurd_usage_is_not_believed(self, upstream, call, usage):
        """The stream goes on; the last sane count stands."""
        _, adapter = await upstream(streaming(event(usage=USAGE), event(usage=usage), DONE))
        stream = await adapter.open_stream(call())
        assert (await read_out(stream))[1] is None
        assert stream.usage == Usage(11, 2)

    async def test_compression_not_asked_for_is_undone(self, upstream, call):
        """A stream that comes compressed is forwarded plain."""
        packed = gzip.compress(b"".join(EVENTS))
        head = ("Content-Type: text/event-stream", "Content-Encoding: gzip")
        _, adapter = await upstream(answering(response(packed, headers=head)))
        assert await read_out(await adapter.open_stream(call())) == (b"".join(EVENTS), None)


class TestAStreamThatNeverBegins:
    @pytest.mark.parametrize(
        ("events", "expected"),
        [
            ([error_event()], FailureClass.QuotaExhausted),
            ([error_event("whatever")], FailureClass.ServerError),
            ([b"data: <html>\n\n", *EVENTS], FailureClass.MalformedAnswer),
            ([b"data: 1\n\n", *EVENTS], FailureClass.MalformedAnswer),
            ([DONE], FailureClass.MalformedAnswer),
            ([], FailureClass.BrokenAnswer),
            ([event()[:-1]], FailureClass.BrokenAnswer),
            ([b"data: " + b"x" * 5000], FailureClass.MalformedAnswer),
            ([b": comment\n\n"] * 400, FailureClass.MalformedAnswer),
        ],
    )
    async def test_a_failure_before_the_first_event_allows_another_key(
        self, upstream, call, monkeypatch, events, expected
    ):
        """Nothing has reached the client, so opening fails and closes the upstream if it goes on."""
        monkeypatch.setattr(openai_stream, "MAX_EVENT_BYTES", 2000)
        monkeypatch.setattr(openai_stream, "EventSplitter", lambda: EventSplitter(2000))
        _, adapter = await upstream(streaming(*events))
        assert (await open_failure(adapter, call())).failure_class is expected

    async def test_a_refusal_is_classified_like_any_other(self, upstream, call):
        """A status that is no success fails the opening, with the provider's wait."""
        answer = json_response(b"{}", status="429 No").replace(b"X-Request-Id: req_42", b"Retry-After: 4")
        _, adapter = await upstream(answering(answer))
        failed = await open_failure(adapter, call())
        assert (failed.failure_class, failed.retry_after_us) == (FailureClass.RateLimited, 4_000_000)

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            (b'{"error": {"code": "insufficient_quota"}}', FailureClass.QuotaExhausted),
            (b'{"choices": []}', FailureClass.MalformedAnswer),
            (b"<html>", FailureClass.MalformedAnswer),
        ],
    )
    async def test_a_whole_answer_is_no_stream(self, upstream, call, body, expected):
        """What is not an event stream is read for its error and refused."""
        _, adapter = await upstream(answering(json_response(body)))
        failed = await open_failure(adapter, call())
        assert (failed.failure_class, failed.status) == (expected, 200)

    async def test_an_unknown_compression_is_refused(self, upstream, call):
        """Nobody asked for it and nobody can read it."""
        head = ("Content-Type: text/event-stream", "Content-Encoding: br")
        _, adapter = await upstream(answering(response(b"x", headers=head)))
        assert (await open_failure(adapter, call())).failure_class is FailureClass.MalformedAnswer

    async def test_cancelling_the_opening_closes_the_upstream(self, upstream, call):
        """A client that leaves before the first event stops the provider within a second."""

        async def script(peer):
            await peer.request()
            await peer.send(HEAD, chunked(b": wait\n\n"))
            await peer.request()

        server, adapter = await upstream(script)
        opening = asyncio.create_task(adapter.open_stream(call()))
        await until(lambda: server.requests)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        async with asyncio.timeout(1):
            await server.peers[0].gone.wait()


class TestAStreamThatBreaks:
    @pytest.mark.parametrize(
        ("rest", "end", "expected"),
        [
            ([event("stop")], LAST, FailureClass.BrokenAnswer),
            ([event("stop")], b"", FailureClass.BrokenAnswer),
            ([event()[:20]], b"", FailureClass.BrokenAnswer),
            ([event(content="ž" * 9)[:90]], LAST, FailureClass.BrokenAnswer),
            ([DONE[:-1]], LAST, FailureClass.BrokenAnswer),
            ([event()], b"nonsense\r\n", FailureClass.MalformedAnswer),
            ([error_event()], LAST, FailureClass.QuotaExhausted),
            ([error_event("whatever"), event(), DONE], LAST, FailureClass.ServerError),
        ],
        ids=["no done", "no end", "in an event", "in a character", "in done", "nonsense", "quota", "error"],
    )
    async def test_an_end_that_is_none_is_told(self, upstream, call, rest, end, expected):
        """The whole events before it are forwarded, then the failure is raised, again and again."""
        _, adapter = await upstream(streaming(event(), *rest, end=end))
        stream = await adapter.open_stream(call())
        passed, failed = await read_out(stream)
        assert (failed.failure_class, failed.status) == (expected, 200)
        assert passed == event() + b"".join(
            e for e in rest[:1] if e.endswith(b"\n\n") and b'"error"' not in e
        )
        assert (await read_out(stream))[1] == failed

    async def test_silence_is_an_idle_timeout(self, upstream, call):
        """A stream that stalls is given up when the call's time says so."""

        async def script(peer):
            await peer.request()
            await peer.send(HEAD, chunked(event()))
            await peer.request()

        server, adapter = await upstream(script)
        stream = await adapter.open_stream(call(deadline_us=200_000))
        _, failed = await read_out(stream)
        assert failed.failure_class is FailureClass.TotalTimeout
        await until(server.peers[0].gone.is_set, "the close")

    async def test_closing_in_the_middle_closes_the_upstream(self, upstream, call):
        """A client that has left costs no more tokens."""

        async def script(peer):
            await peer.request()
            await peer.send(HEAD, chunked(event()))
            await peer.request()

        server, adapter = await upstream(script)
        stream = await adapter.open_stream(call())
        stream.close()
        async with asyncio.timeout(1):
            await server.peers[0].gone.wait()


class TestTheResponsesApi:
    async def test_its_own_last_event_ends_the_stream(self, upstream, call):
        """There is no `[DONE]`; the completed snapshot has usage and status."""
        snapshot = {"model": "gpt-4o", "status": "in_progress", "output": [], "error": None, "usage": None}
        done = snapshot | {"status": "completed", "usage": {"input_tokens": 3, "output_tokens": 4}}
        events = [
            of_responses("response.created", response=snapshot),
            of_responses("response.output_text.delta", delta="response.completed"),
            of_responses("response.completed", response=done),
        ]
        _, adapter = await upstream(streaming(*events))
        stream = await adapter.open_stream(call(operation="responses"))
        assert await read_out(stream) == (b"".join(events), None)
        assert (stream.usage, stream.model, stream.finish_reason) == (Usage(3, 4), "gpt-4o", "completed")

    @pytest.mark.parametrize(
        ("last", "expected"),
        [
            (
                of_responses(
                    "response.failed", response={"output": [], "error": {"code": "insufficient_quota"}}
                ),
                FailureClass.QuotaExhausted,
            ),
            (of_responses("error", code="insufficient_quota", message="no"), FailureClass.QuotaExhausted),
            (b"", FailureClass.BrokenAnswer),
        ],
    )
    async def test_its_failures_are_told(self, upstream, call, last, expected):
        """A failed response, an error event, and an end without an ending all break the stream."""
        first = of_responses("response.created", response={"output": []})
        _, adapter = await upstream(streaming(first, *([last] if last else [])))
        passed, failed = await read_out(await adapter.open_stream(call(operation="responses")))
        assert (passed, failed.failure_class) == (first, expected)

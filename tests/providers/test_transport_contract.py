"""What every transport promises, tried on each with a real server that behaves badly."""

import asyncio
import gzip
import tracemalloc
import zlib

import pytest
from raw_server import KEY, answering, chunked, response, until

from apikeyrouter.adapters.providers.transport import Deadlines, HttpRequest, TransportError
from apikeyrouter.domain.failures import FailureClass

MIB = 1024 * 1024
PATIENT = Deadlines(connect_s=2, first_byte_s=2, idle_s=2, total_s=5)


def request(server, **changes):
    fields = {
        "method": "POST",
        "url": server.url + "/v1/x?y=1",
        "headers": [("authorization", f"Bearer {KEY}"), ("content-type", "application/json")],
        "body": b'{"hello": 1}',
        "deadlines": PATIENT,
    }
    return HttpRequest(**(fields | changes))


async def exchange(transport, server, limit_bytes=MIB, **changes):
    """Send one request and read its whole answer."""
    answer = await transport.send(request(server, **changes))
    return answer, await answer.read(limit_bytes)


async def failure(transport, server, limit_bytes=MIB, **changes):
    """Send one request that must fail, and return how."""
    with pytest.raises(TransportError) as caught:
        await exchange(transport, server, limit_bytes, **changes)
    return caught.value


class TestAnExchange:
    async def test_sends_what_it_was_given_framed_by_length(self, transport, server_for):
        """Method, target, headers and body arrive as they were, with host and length added."""
        server = await server_for(answering(response(b"ok")))
        answer, body = await exchange(transport, server)
        head, _, sent = server.requests[0].partition(b"\r\n\r\n")
        lines = [line.lower() for line in head.split(b"\r\n")]
        assert (answer.status, body, sent) == (200, b"ok", b'{"hello": 1}')
        assert lines[0] == b"post /v1/x?y=1 http/1.1"
        assert f"host: 127.0.0.1:{server.port}".encode() in lines
        assert b"content-length: 12" in lines
        assert b"accept-encoding: identity" in lines
        assert f"authorization: Bearer {KEY}".encode().lower() in lines

    async def test_a_large_body_arrives_whole(self, transport, server_for):
        """A body of megabytes is written to its end."""
        server = await server_for(answering(response(b"ok")))
        await exchange(transport, server, body=b"x" * (3 * MIB))
        assert server.requests[0].endswith(b"\r\n\r\n" + b"x" * (3 * MIB))

    async def test_header_names_are_lower_case_and_the_last_repeated_one_counts(self, transport, server_for):
        """Headers are found under one spelling."""
        server = await server_for(answering(response(b"", headers=("X-Thing: a", "x-thing: b"))))
        answer, _ = await exchange(transport, server)
        assert answer.headers["x-thing"] == "b"

    @pytest.mark.parametrize("framing", ["length", "chunked", "close"])
    async def test_every_framing_gives_the_body(self, transport, server_for, framing):
        """Bodies delimited by length, by chunks or by the end of the connection read the same."""

        async def script(peer):
            await peer.request()
            await peer.send(response(b"a whole body", framing=framing))
            if framing == "close":
                await peer.hang_up()

        _, body = await exchange(transport, await server_for(script))
        assert body == b"a whole body"

    async def test_any_packets_give_the_same_answer(self, transport, server_for):
        """An answer that trickles in byte by byte is the same answer."""

        async def script(peer):
            await peer.request()
            await peer.trickle(response(b"trickled", framing="chunked"), every_s=0.0005)

        answer, body = await exchange(transport, await server_for(script))
        assert (answer.status, body) == (200, b"trickled")

    @pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
    async def test_statuses_without_body_end_at_their_head(self, transport, server_for, status):
        """204 and 304 have no body, and the connection stays usable."""
        server = await server_for(answering(response(status=status, framing="none"), response(b"next")))
        answer, body = await exchange(transport, server)
        _, after = await exchange(transport, server)
        assert (answer.status, body, after) == (int(status[:3]), b"", b"next")
        assert len(server.peers) == 1

    async def test_head_has_no_body_whatever_its_length_says(self, transport, server_for):
        """The length in an answer to HEAD describes a body that does not come."""
        server = await server_for(answering(response(headers=("Content-Length: 999",), framing="none")))
        answer, body = await exchange(transport, server, method="HEAD", body=b"")
        assert (answer.status, body) == (200, b"")

    async def test_interim_answers_are_skipped(self, transport, server_for):
        """100 and 103 are not the answer."""
        interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        server = await server_for(answering(interim + response(b"final")))
        answer, body = await exchange(transport, server)
        assert (answer.status, body) == (200, b"final")
        assert "link" not in answer.headers

    async def test_redirects_are_not_followed(self, transport, server_for):
        """A redirect is an answer like any other: no key goes where the provider points."""
        server = await server_for(answering(response(status="307 Go", headers=("Location: /elsewhere",))))
        answer, _ = await exchange(transport, server)
        assert answer.status == 307
        assert len(server.requests) == 1

    async def test_cookies_are_not_kept(self, transport, server_for):
        """What a provider sets for one key is not sent with the next."""
        server = await server_for(answering(response(b"", headers=("Set-Cookie: who=tenant-a; Path=/",))))
        await exchange(transport, server)
        await exchange(transport, server)
        assert b"cookie" not in server.requests[1].lower()


class TestKeepAlive:
    async def test_a_finished_connection_is_used_again(self, transport, server_for):
        """Exchanges one after the other share a connection."""
        server = await server_for(answering(response(b"ok"), response(b"ok", framing="chunked")))
        for _ in range(4):
            await exchange(transport, server)
        assert (len(server.peers), len(server.requests)) == (1, 4)

    @pytest.mark.parametrize("head", ["Connection: close", "HTTP/1.0"])
    async def test_a_server_that_says_close_is_believed(self, transport, server_for, head):
        """A connection that the server will not keep is not kept."""
        answer = response(b"ok", headers=("Connection: close",))
        if head == "HTTP/1.0":
            answer = response(b"ok").replace(b"HTTP/1.1", b"HTTP/1.0")
        server = await server_for(answering(answer))
        await exchange(transport, server)
        await exchange(transport, server)
        assert len(server.peers) == 2

    async def test_a_connection_closed_by_the_server_while_idle_is_not_used(self, transport, server_for):
        """After the server has closed an idle connection, the next exchange opens another."""

        async def script(peer):
            await peer.request()
            await peer.send(response(b"ok"))
            await peer.hang_up()

        server = await server_for(script)
        for turn in range(3):
            _, body = await exchange(transport, server)
            await until(server.peers[turn].gone.is_set)
            assert body == b"ok"
        assert len(server.peers) == 3

    async def test_no_request_is_written_twice(self, transport, server_for):
        """A kept connection that dies under a request fails it: the provider may have acted on it."""

        async def script(peer):
            await peer.request()
            await peer.send(response(b"ok"))
            await peer.request()
            peer.reset()

        server = await server_for(script)
        await exchange(transport, server)
        broken = await failure(transport, server)
        assert (broken.failure_class, broken.sent) == (FailureClass.BrokenAnswer, True)
        assert len(server.requests) == 2

    async def test_a_body_left_unread_does_not_become_the_next_answer(self, transport, server_for):
        """Closing an answer in its middle gives up its connection."""

        async def script(peer):
            await peer.request()
            await peer.send(response(b"x" * 100)[:-50])
            await peer.request()

        server = await server_for(script)
        answer = await transport.send(request(server))
        answer.close()
        await until(server.peers[0].gone.is_set, "the close")

    async def test_a_stream_finished_before_its_end_keeps_the_connection(self, transport, server_for):
        """When only the last chunk is missing, its arrival frees the connection for the next exchange."""
        proceed = asyncio.Event()

        async def script(peer):
            await peer.request()
            await peer.send(response(b"[DONE]", framing="chunked")[:-5])
            await proceed.wait()
            await peer.send(b"0\r\n\r\n")
            await peer.request()
            await peer.send(response(b"next"))

        server = await server_for(script)
        answer = await transport.send(request(server))
        assert await anext(answer.chunks()) == b"[DONE]"
        answer.finish()
        proceed.set()
        await self._until_reusable(transport)
        _, body = await exchange(transport, server)
        assert (body, len(server.peers)) == (b"next", 1)

    async def test_a_stream_that_does_not_end_after_its_end_is_dropped(self, transport, server_for):
        """Whatever goes on after the last event is discarded only up to a bound."""

        async def script(peer):
            await peer.request()
            await peer.send(response(framing="none", headers=("Transfer-Encoding: chunked",)))
            while not peer.gone.is_set():
                await peer.send(chunked(b"more" * 4096))

        server = await server_for(script)
        answer = await transport.send(request(server))
        await anext(answer.chunks())
        answer.finish()
        await until(server.peers[0].gone.is_set, "the close")

    @staticmethod
    async def _until_reusable(transport):
        idle = getattr(transport, "_idle", None)
        if idle is None:
            await until(lambda: not transport._closing)
        else:
            await until(lambda: any(idle.values()))


class TestDeadlines:
    async def test_silence_before_the_head_is_a_first_byte_timeout(self, transport, server_for):
        """A server that takes the request and says nothing is given up."""

        async def script(peer):
            await peer.request()
            await peer.request()

        server = await server_for(script)
        late = await failure(transport, server, deadlines=Deadlines(connect_s=0.05, first_byte_s=0.1))
        assert (late.failure_class, late.sent) == (FailureClass.FirstByteTimeout, True)
        await until(server.peers[0].gone.is_set, "the close")

    async def test_headers_that_trickle_do_not_prolong_the_wait(self, transport, server_for):
        """Slow headers are bounded as a whole, not by the byte."""

        async def script(peer):
            await peer.request()
            await peer.trickle(b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 10_000)

        late = await failure(
            transport, await server_for(script), deadlines=Deadlines(connect_s=0.05, first_byte_s=0.1)
        )
        assert late.failure_class is FailureClass.FirstByteTimeout

    async def test_silence_within_the_body_is_an_idle_timeout(self, transport, server_for):
        """An answer that stalls midway is given up."""

        async def script(peer):
            await peer.request()
            await peer.send(response(b"x" * 10)[:-5])
            await peer.request()

        server = await server_for(script)
        late = await failure(transport, server, deadlines=Deadlines(idle_s=0.1))
        assert (late.failure_class, late.sent) == (FailureClass.IdleTimeout, True)
        await until(server.peers[0].gone.is_set, "the close")

    async def test_a_body_that_trickles_for_ever_meets_the_total_deadline(self, transport, server_for):
        """Never silent, never done: the time of the whole exchange is bounded."""

        async def script(peer):
            await peer.request()
            await peer.trickle(response(b"x" * 100_000))

        late = await failure(
            transport, await server_for(script), deadlines=Deadlines(idle_s=1, total_s=0.2)
        )
        assert late.failure_class is FailureClass.TotalTimeout

    async def test_a_slow_body_in_time_is_read(self, transport, server_for):
        """Each piece starts the idle time anew."""

        async def script(peer):
            await peer.request()
            await peer.trickle(response(b"slow but steady"), every_s=0.002)

        _, body = await exchange(transport, await server_for(script), deadlines=Deadlines(idle_s=0.2, total_s=4))
        assert body == b"slow but steady"

    async def test_nobody_listening_is_a_failed_connect(self, transport, server_for):
        """A refused connection says that nothing was sent."""
        server = await server_for(answering(response()))
        await server.close()
        refused = await failure(transport, server)
        assert (refused.failure_class, refused.sent) == (FailureClass.ConnectFailed, False)

    async def test_a_certificate_not_trusted_is_a_failed_connect(self, transport, server_for, tls):
        """A server that cannot prove its name is sent nothing."""
        server = await server_for(answering(response()), ssl_context=tls[0])
        refused = await failure(transport, server)
        assert (refused.failure_class, refused.sent) == (FailureClass.ConnectFailed, False)
        assert server.requests == []


class TestABrokenAnswer:
    @pytest.mark.parametrize(
        "cut",
        [
            b"",
            b"HTTP/1.1 200 OK\r\nContent-",
            response(b"x" * 100)[:-1],
            response(framing="none", headers=("Transfer-Encoding: chunked",)) + b"10\r\nhalf a",
            response(framing="none", headers=("Transfer-Encoding: chunked",)) + chunked(b"whole"),
        ],
        ids=["nothing", "in the head", "in the body", "in a chunk", "before the last chunk"],
    )
    @pytest.mark.parametrize("manner", ["hang_up", "half_close", "reset"])
    async def test_a_cut_is_seen_as_a_cut(self, transport, server_for, cut, manner):
        """An answer that ends before its end is never taken for a whole one."""

        async def script(peer):
            await peer.request()
            await peer.send(cut)
            left = getattr(peer, manner)()
            if left is not None:
                await left
            await peer.request()

        broken = await failure(transport, await server_for(script))
        assert (broken.failure_class, broken.sent) == (FailureClass.BrokenAnswer, True)

    @pytest.mark.parametrize(
        "nonsense",
        [
            b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
            b"HTTP/1.1 two hundred\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: minus one\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot hexadecimal\r\n",
            b"HTTP/1.1 200 OK\r\nX-Endless: " + b"a" * 300_000,
            b"HTTP/1.1 200 OK\r\n" + b"X-Many: 1\r\n" * 20_000,
        ],
        ids=["ssh", "status", "length", "two lengths", "chunk size", "long header", "many headers"],
    )
    async def test_nonsense_is_refused(self, transport, server_for, nonsense):
        """What is not HTTP, or too much of it, is a malformed answer."""
        server = await server_for(answering(nonsense))
        malformed = await failure(transport, server)
        assert malformed.failure_class is FailureClass.MalformedAnswer
        await until(server.peers[0].gone.is_set, "the close")


class TestBoundedBodies:
    @pytest.mark.parametrize("framing", ["length", "chunked"])
    async def test_a_body_over_the_limit_is_refused(self, transport, server_for, framing):
        """One byte more than the limit is a malformed answer; the limit itself is not."""
        server = await server_for(answering(response(b"x" * 1000, framing=framing)))
        _, body = await exchange(transport, server, 1000)
        assert len(body) == 1000
        refused = await failure(transport, server, 999)
        assert refused.failure_class is FailureClass.MalformedAnswer

    async def test_an_endless_body_is_not_read_to_its_end(self, transport, server_for):
        """A reader with a limit closes the connection soon after it."""

        async def script(peer):
            await peer.request()
            await peer.send(response(headers=("Content-Length: 10000000000",), framing="none"))
            while not peer.gone.is_set():
                await peer.send(b"x" * 65536)

        server = await server_for(script)
        refused = await failure(transport, server, 100_000)
        assert refused.failure_class is FailureClass.MalformedAnswer
        await until(server.peers[0].gone.is_set, "the close")

    @pytest.mark.parametrize("encoding", ["gzip", "deflate"])
    async def test_compression_not_asked_for_is_undone(self, transport, server_for, encoding):
        """A server that compresses all the same is understood, whole and by chunks."""
        packed = (gzip.compress if encoding == "gzip" else zlib.compress)(b"plain text " * 20_000)
        server = await server_for(answering(response(packed, headers=(f"Content-Encoding: {encoding}",))))
        _, body = await exchange(transport, server)
        answer = await transport.send(request(server))
        assert body == b"".join([chunk async for chunk in answer.chunks()]) == b"plain text " * 20_000

    async def test_a_gzip_bomb_unfolds_only_to_the_limit(self, transport, server_for):
        """A small body that would fill the memory is refused before it does."""
        bomb = gzip.compress(b"\0" * (64 * MIB))
        server = await server_for(answering(response(bomb, headers=("Content-Encoding: gzip",))))
        tracemalloc.start()
        refused = await failure(transport, server)
        answer = await transport.send(request(server))
        sizes = [len(chunk) async for chunk in answer.chunks()]
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert refused.failure_class is FailureClass.MalformedAnswer
        assert (max(sizes), sum(sizes)) == (64 * 1024, 64 * MIB)
        assert peak_bytes < 8 * MIB

    @pytest.mark.parametrize(
        ("packed", "encoding", "expected"),
        [
            (gzip.compress(b"text")[:-4], "gzip", FailureClass.BrokenAnswer),
            (gzip.compress(b"text") + b"more", "gzip", FailureClass.MalformedAnswer),
            (b"not gzip at all", "gzip", FailureClass.MalformedAnswer),
            (b"text", "br", FailureClass.MalformedAnswer),
        ],
        ids=["cut", "trailing", "not gzip", "unknown"],
    )
    async def test_compression_gone_wrong_is_refused(self, transport, server_for, packed, encoding, expected):
        """Compressed bodies that are not whole, or not understood, are no answers."""
        server = await server_for(answering(response(packed, headers=(f"Content-Encoding: {encoding}",))))
        refused = await failure(transport, server)
        assert refused.failure_class is expected
        answer = await transport.send(request(server))
        with pytest.raises(TransportError) as caught:
            _ = [chunk async for chunk in answer.chunks()]
        assert caught.value.failure_class is expected


class TestChunks:
    async def test_chunks_come_as_they_arrive(self, transport, server_for):
        """The first chunk is there before the server writes the second."""
        proceed = asyncio.Event()

        async def script(peer):
            await peer.request()
            await peer.send(response(framing="none", headers=("Transfer-Encoding: chunked",)))
            await peer.send(chunked(b"first"))
            await proceed.wait()
            await peer.send(chunked(b"second") + b"0\r\n\r\n")

        answer = await transport.send(request(await server_for(script)))
        chunks = answer.chunks()
        assert await anext(chunks) == b"first"
        proceed.set()
        assert [chunk async for chunk in chunks] == [b"second"]

    async def test_what_arrived_before_a_cut_is_delivered_first(self, transport, server_for):
        """A break is told after the bytes that came before it."""

        async def script(peer):
            await peer.request()
            await peer.send(response(b"arrived" + b"x" * 100)[:-100])
            await peer.hang_up()

        answer = await transport.send(request(await server_for(script)))
        chunks = answer.chunks()
        assert await anext(chunks) == b"arrived"
        with pytest.raises(TransportError) as caught:
            await anext(chunks)
        assert caught.value.failure_class is FailureClass.BrokenAnswer

    async def test_a_slow_reader_holds_the_server_back(self, transport, server_for):
        """While nobody reads, only a bounded part of the body is taken in; later all of it arrives."""
        written = 0

        async def script(peer):
            nonlocal written
            await peer.request()
            await peer.send(response(headers=(f"Content-Length: {64 * MIB}",), framing="none"))
            for _ in range(64):
                await peer.send(b"x" * MIB)
                written += 1

        server = await server_for(script)
        answer = await transport.send(request(server, deadlines=Deadlines(idle_s=0.3, total_s=20)))
        await self._until_steady(lambda: written)
        assert written < 40
        assert sum([len(chunk) async for chunk in answer.chunks()]) == 64 * MIB

    @staticmethod
    async def _until_steady(value):
        last, since = value(), 0
        while since < 100:  # longer than the idle deadline: a reader's pause is not the server's silence
            await asyncio.sleep(0.005)
            last, since = value(), since + 1 if value() == last else 0


class TestCancellation:
    async def _cancelled(self, task, server):
        await until(lambda: server.requests, "the request")
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(1):
            await server.peers[0].gone.wait()

    async def test_cancelling_the_send_closes_the_upstream(self, transport, server_for):
        """A caller who leaves before the head is noticed upstream within a second."""

        async def script(peer):
            await peer.request()
            await peer.request()

        server = await server_for(script)
        await self._cancelled(asyncio.create_task(transport.send(request(server))), server)

    async def test_cancelling_a_read_closes_the_upstream(self, transport, server_for):
        """A caller who leaves within the body is noticed upstream within a second."""

        async def script(peer):
            await peer.request()
            await peer.send(response(b"x" * 10)[:-5])
            await peer.request()

        server = await server_for(script)
        await self._cancelled(asyncio.create_task(exchange(transport, server)), server)

    async def test_cancelling_a_stream_closes_the_upstream(self, transport, server_for):
        """A caller who leaves between two chunks is noticed upstream within a second."""

        async def script(peer):
            await peer.request()
            await peer.send(response(framing="none", headers=("Transfer-Encoding: chunked",)) + chunked(b"one"))
            await peer.request()

        async def consume():
            answer = await transport.send(request(server))
            async for _ in answer.chunks():
                pass

        server = await server_for(script)
        await self._cancelled(asyncio.create_task(consume()), server)


class TestRefusedRequests:
    @pytest.mark.parametrize("character", ["\r", "\n", "\0", "\r\nX-Evil: 1", "\x7f", "é", "\t"])
    @pytest.mark.parametrize("place", ["value", "name", "url", "method"])
    async def test_a_request_that_could_smuggle_is_not_sent(self, transport, server_for, place, character):
        """Control characters in any part of the head are refused before anything is written."""
        server = await server_for(answering(response(b"ok")))
        bad = f"abc{character}def"
        changes = {
            "value": {"headers": [("x-thing", bad)]},
            "name": {"headers": [(bad, "1")]},
            "url": {"url": f"{server.url}/{bad}"},
            "method": {"method": bad},
        }[place]
        refused = await failure(transport, server, **changes)
        assert (refused.failure_class, refused.sent) == (FailureClass.InvalidRequest, False)
        assert server.peers == []

    @pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "connection"])
    async def test_framing_headers_are_the_transports_own(self, transport, server_for, name):
        """Nobody else says where a request ends."""
        server = await server_for(answering(response(b"ok")))
        refused = await failure(transport, server, headers=[(name, "0")])
        assert (refused.failure_class, refused.sent) == (FailureClass.InvalidRequest, False)

    @pytest.mark.parametrize(
        "url",
        ["file:///etc/passwd", "ftp://127.0.0.1/", "//127.0.0.1/", "http://", "http://u:p@127.0.0.1/"]
        + ["http://127.0.0.1:99999/", "http://[::1/", "nonsense", ""],
    )
    async def test_only_plain_absolute_addresses_are_called(self, transport, server_for, url):
        """No other scheme, no credentials, no nonsense."""
        refused = await failure(transport, await server_for(answering(response())), url=url)
        assert (refused.failure_class, refused.sent) == (FailureClass.InvalidRequest, False)

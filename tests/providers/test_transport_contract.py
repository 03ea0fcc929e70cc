"""What every transport promises of a call that goes well, or is left by its caller."""

import asyncio

import pytest
from asking import MIB, exchange, failure, request
from raw_server import KEY, answering, chunked, response, until

from apikeyrouter.adapters.providers import http_connection, httpx_transport
from apikeyrouter.adapters.providers.transport import Deadlines, TransportError
from apikeyrouter.domain.failures import FailureClass


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
        for answered in (
            response(headers=("Content-Length: 999",), framing="none"),
            response(b"a body anyway"),
        ):
            server = await server_for(answering(answered))
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

    async def test_a_stream_that_does_not_end_after_its_end_is_dropped(
        self, transport, server_for, monkeypatch
    ):
        """Whatever goes on after the last event is discarded only up to a bound."""
        monkeypatch.setattr(http_connection, "DRAIN_S", 60)
        monkeypatch.setattr(httpx_transport, "DRAIN_S", 60)

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

    async def test_a_reader_that_comes_late_reads_the_whole(self, transport, server_for):
        """An answer held back for want of a reader goes on when it is read whole."""
        written = 0

        async def script(peer):
            nonlocal written
            await peer.request()
            await peer.send(response(headers=(f"Content-Length: {32 * MIB}",), framing="none"))
            for _ in range(32):
                await peer.send(b"x" * MIB)
                written += 1

        answer = await transport.send(request(await server_for(script)))
        await self._until_steady(lambda: written)
        assert written < 32
        assert len(await answer.read(32 * MIB)) == 32 * MIB

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
            await peer.send(
                response(framing="none", headers=("Transfer-Encoding: chunked",)) + chunked(b"one")
            )
            await peer.request()

        async def consume():
            answer = await transport.send(request(server))
            async for _ in answer.chunks():
                pass

        server = await server_for(script)
        await self._cancelled(asyncio.create_task(consume()), server)

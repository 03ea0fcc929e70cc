"""What every transport promises when a server behaves badly, or a request must not be sent."""

import gzip
import tracemalloc
import zlib

import pytest
from asking import MIB, exchange, failure, request
from raw_server import answering, chunked, response, until

from apikeyrouter.adapters.providers.transport import Deadlines, TransportError
from apikeyrouter.domain.failures import FailureClass


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

        late = await failure(transport, await server_for(script), deadlines=Deadlines(idle_s=1, total_s=0.2))
        assert late.failure_class is FailureClass.TotalTimeout

    async def test_a_slow_body_in_time_is_read(self, transport, server_for):
        """Each piece starts the idle time anew."""

        async def script(peer):
            await peer.request()
            await peer.trickle(response(b"slow but steady"), every_s=0.002)

        _, body = await exchange(
            transport, await server_for(script), deadlines=Deadlines(idle_s=0.2, total_s=4)
        )
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
        [
            "file:///etc/passwd",
            "ftp://127.0.0.1/",
            "//127.0.0.1/",
            "http://",
            "http://u:p@127.0.0.1/",
            "http://127.0.0.1:99999/",
            "http://[::1/",
            "nonsense",
            "",
        ],
    )
    async def test_only_plain_absolute_addresses_are_called(self, transport, server_for, url):
        """No other scheme, no credentials, no nonsense."""
        refused = await failure(transport, await server_for(answering(response())), url=url)
        assert (refused.failure_class, refused.sent) == (FailureClass.InvalidRequest, False)

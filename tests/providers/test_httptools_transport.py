"""What the lean transport promises beyond the contract: its pool, TLS, and connections gone wrong."""

import asyncio
import contextlib
import socket
from unittest.mock import Mock

import pytest
from raw_server import KEY, answering, response, until

from apikeyrouter.adapters.providers.http_connection import Connection
from apikeyrouter.adapters.providers.http_exchange import Exchange
from apikeyrouter.adapters.providers.httptools_transport import HttptoolsTransport
from apikeyrouter.adapters.providers.transport import Deadlines, HttpRequest, TransportError
from apikeyrouter.domain.failures import FailureClass

PATIENT = Deadlines(connect_s=2, first_byte_s=2, idle_s=2, total_s=5)


def request(server, deadlines=PATIENT):
    return HttpRequest(
        method="POST", url=server.url, headers=[("authorization", KEY)], body=b"{}", deadlines=deadlines
    )


async def read(transport, server, deadlines=PATIENT):
    answer = await transport.send(request(server, deadlines))
    return await answer.read(100_000)


class TestThePool:
    async def test_concurrent_exchanges_have_connections_of_their_own(self, lean, server_for):
        """No two exchanges share a connection at a time, and all connections are kept afterwards."""
        server = await server_for(answering(response(b"ok")))
        for _ in range(2):
            assert await asyncio.gather(*[read(lean, server) for _ in range(8)]) == [b"ok"] * 8
        assert len(server.peers) == 8

    async def test_the_last_connection_back_is_the_first_out(self, lean, server_for):
        """A calm period needs few connections, so that the rest may age."""
        server = await server_for(answering(response(b"ok")))
        await asyncio.gather(*[read(lean, server) for _ in range(4)])
        for _ in range(5):
            await read(lean, server)
        assert sorted(len(peer.requests) for peer in server.peers) == [1, 1, 1, 6]

    async def test_idle_connections_are_bounded_in_number(self, server_for):
        """What comes back to a full pool is closed."""
        transport = HttptoolsTransport(max_idle_per_origin=2)
        server = await server_for(answering(response(b"ok")))
        await asyncio.gather(*[read(transport, server) for _ in range(5)])
        await until(lambda: sum(peer.gone.is_set() for peer in server.peers) == 3)
        await transport.close()
        await until(lambda: all(peer.gone.is_set() for peer in server.peers))

    async def test_idle_connections_are_bounded_in_age(self, server_for):
        """A connection that nobody needs is given back."""
        transport = HttptoolsTransport(idle_connection_s=0.05)
        server = await server_for(answering(response(b"ok")))
        await read(transport, server, Deadlines())
        await until(server.peers[0].gone.is_set, "the close")
        assert await read(transport, server) == b"ok"

    async def test_origins_do_not_share_connections(self, lean, server_for):
        """A request goes to its own server."""
        first = await server_for(answering(response(b"first")))
        second = await server_for(answering(response(b"second")))
        for _ in range(2):
            assert await read(lean, first) == b"first"
            assert await read(lean, second) == b"second"

    def test_connections_do_not_outlive_their_loop(self):
        """A transport that is used by a second event loop starts with an empty pool."""
        transport = HttptoolsTransport()
        with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as peers:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            for _ in range(2):
                asyncio.run(self._one_exchange(transport, listener, url, peers))

    async def _one_exchange(self, transport, listener, url, peers):
        asked = HttpRequest(method="GET", url=url, headers=[], body=b"", deadlines=PATIENT)
        sending = asyncio.create_task(transport.send(asked))
        listener.settimeout(5)
        peer = peers.enter_context(await asyncio.to_thread(lambda: listener.accept()[0]))
        peer.sendall(response(b"ok"))
        assert await (await sending).read(10) == b"ok"

    async def test_a_connection_the_server_has_closed_is_forgotten(self, lean, server_for):
        """From the goodbye on it is not used, and soon it is not even kept."""
        server = await server_for(answering(response(b"ok")))
        await read(lean, server)
        (kept,) = next(iter(lean._idle.values()))
        kept.eof_received()
        assert await read(lean, server) == b"ok"
        assert len(server.peers) == 2
        server.peers[1].half_close()
        await until(lambda: not any(lean._idle.values()), "the forgetting")


class TestConnectionsGoneWrong:
    @pytest.mark.parametrize("garbage", [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong", b"garbage"])
    async def test_bytes_after_the_answer_cost_the_connection(self, lean, server_for, garbage):
        """An answer nobody asked for never becomes the answer to the next request."""
        server = await server_for(answering(response(b"right") + garbage))
        assert await read(lean, server) == b"right"
        assert await read(lean, server) == b"right"
        assert len(server.peers) == 2

    async def test_bytes_while_idle_cost_the_connection(self, lean, server_for):
        """The same holds when they come later."""
        proceed = asyncio.Event()

        async def script(peer):
            await peer.request()
            await peer.send(response(b"right"))
            await proceed.wait()
            await peer.send(response(b"wrong"))
            await peer.request()

        server = await server_for(script)
        assert await read(lean, server) == b"right"
        proceed.set()
        await until(server.peers[0].gone.is_set, "the close")
        assert await read(lean, server) == b"right"
        assert len(server.peers) == 2

    @pytest.mark.parametrize("greeting", [b"", response(b"early"), b"220 smtp ready"])
    async def test_a_server_that_speaks_or_leaves_first_is_sent_nothing(self, server_for, greeting):
        """A connection that is over before the request is written is a failed connect, at once."""

        async def script(peer):
            await peer.send(greeting)
            await peer.hang_up()

        class Hesitant(HttptoolsTransport):
            async def _dial(self, loop, connection, *where):
                await super()._dial(loop, connection, *where)
                await until(lambda: not connection.open)

        server = await server_for(script)
        with pytest.raises(TransportError) as caught:
            await read(Hesitant(), server)
        assert (caught.value.failure_class, caught.value.sent) == (FailureClass.ConnectFailed, False)

    async def test_an_answer_before_the_body_was_taken_costs_the_connection(self, lean, server_for):
        """A server that refuses a large body early cannot mistake its rest for the next request."""

        async def script(peer):
            await until(lambda: peer._received)
            peer._pump.cancel()
            peer._writer.transport.pause_reading()
            await peer.send(response(b"too large", status="413 No"))
            await peer.request()

        server = await server_for(script)
        big = HttpRequest(
            method="POST", url=server.url, headers=[], body=b"x" * 50_000_000, deadlines=PATIENT
        )
        answer = await lean.send(big)
        assert (answer.status, await answer.read(100)) == (413, b"too large")
        assert not any(lean._idle.values())

    async def test_a_goodbye_before_the_body_was_taken_is_told_at_once(self, lean, server_for):
        """A server that stops answering while we still write leaves nothing to wait for."""

        async def script(peer):
            await until(lambda: peer._received)
            peer._pump.cancel()
            peer._writer.transport.pause_reading()
            peer.half_close()
            await peer.request()

        server = await server_for(script)
        big = HttpRequest(
            method="POST", url=server.url, headers=[], body=b"x" * 50_000_000, deadlines=PATIENT
        )
        with pytest.raises(TransportError) as caught:
            await lean.send(big)
        assert caught.value.failure_class is FailureClass.BrokenAnswer

    async def test_a_large_head_is_refused_however_it_arrives(self):
        """The bound holds within one packet, too, and beside a body that follows at once."""
        loop = asyncio.get_running_loop()
        connection = Connection(loop, lambda _: None, lambda _: None)
        connection.connection_made(Mock(get_write_buffer_size=lambda: 0))
        exchange = Exchange(loop, PATIENT, head_only=False)
        connection.begin(exchange, b"", b"")
        connection.data_received(response(b"body", headers=(f"X-Long: {'a' * 100_000}",)))
        with pytest.raises(TransportError) as caught:
            await exchange.head()
        assert caught.value.failure_class is FailureClass.MalformedAnswer

    @pytest.mark.parametrize(
        "endless",
        [
            b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n",
            b"X-Trailer: 1\r\n",
            b"e" * 1000,
        ],
        ids=["interim answers", "trailers", "chunk extension"],
    )
    async def test_what_is_neither_head_nor_body_is_bounded(self, lean, server_for, endless):
        """Endless bytes that are no part of an answer end the exchange."""
        head = response(framing="none", headers=("Transfer-Encoding: chunked",))
        start = {b"H": b"", b"X": head + b"0\r\n", b"e": head + b"5;"}[endless[:1]]

        async def script(peer):
            await peer.request()
            await peer.send(start)
            while not peer.gone.is_set():
                await peer.send(endless * 10)

        server = await server_for(script)
        with pytest.raises(TransportError) as caught:
            await read(lean, server)
        assert caught.value.failure_class is FailureClass.MalformedAnswer
        await until(server.peers[0].gone.is_set, "the close")

    @pytest.mark.parametrize(
        "head",
        [
            b"Transfer-Encoding: gzip, chunked",
            b"Transfer-Encoding: chunked, gzip",
            b"Transfer-Encoding: identity",
            b"Transfer-Encoding: chunked\r\nContent-Length: 3",
        ],
    )
    async def test_doubtful_framing_is_refused(self, lean, server_for, head):
        """Where a body ends must be beyond doubt."""
        server = await server_for(answering(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n"))
        with pytest.raises(TransportError) as caught:
            await read(lean, server)
        assert caught.value.failure_class is FailureClass.MalformedAnswer

    async def test_a_change_of_protocol_is_refused(self, lean, server_for):
        """Nobody asked for a web socket."""
        upgrade = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
        server = await server_for(answering(upgrade))
        with pytest.raises(TransportError) as caught:
            await read(lean, server)
        assert caught.value.failure_class is FailureClass.MalformedAnswer

    async def test_a_body_that_trickles_after_the_end_of_interest_is_dropped_in_time(self, lean, server_for):
        """A finished stream occupies its connection for a moment only, however steadily it goes on."""

        async def script(peer):
            await peer.request()
            await peer.send(response(b"x" * 1000)[:-900])
            await peer.trickle(b"y" * 899, every_s=0.02)

        server = await server_for(script)
        answer = await lean.send(request(server))
        await anext(answer.chunks())
        answer.finish()
        await until(server.peers[0].gone.is_set, "the close")


class TestConnecting:
    async def test_tls_is_spoken_where_the_address_says_so(self, server_for, tls):
        """An https address reaches a server whose certificate is trusted, and its connection is kept."""
        server = await server_for(answering(response(b"secret")), ssl_context=tls[0])
        transport = HttptoolsTransport(ssl_context=tls[1])
        assert [await read(transport, server) for _ in range(3)] == [b"secret"] * 3
        assert len(server.peers) == 1
        await transport.close()

    async def test_a_body_cut_under_tls_is_seen_as_cut(self, server_for, tls):
        """Encryption changes nothing about half answers."""

        async def script(peer):
            await peer.request()
            await peer.send(response(b"x" * 100)[:-1])
            peer.reset()

        transport = HttptoolsTransport(ssl_context=tls[1])
        with pytest.raises(TransportError) as caught:
            await read(transport, await server_for(script, ssl_context=tls[0]))
        assert caught.value.failure_class is FailureClass.BrokenAnswer

    async def test_a_silent_handshake_is_a_failed_connect(self, lean, server_for):
        """A server that accepts and never shakes hands is given up, with nothing sent."""
        server, late = await self._stalled_handshake(lean, server_for, Deadlines(connect_s=0.1))
        assert (late.failure_class, late.sent) == (FailureClass.ConnectFailed, False)
        await until(server.peers[0].gone.is_set, "the close")

    async def test_time_used_up_while_connecting_is_told_as_such(self, lean, server_for):
        """When the whole time is shorter than the connect, no other key can help."""
        _, late = await self._stalled_handshake(lean, server_for, Deadlines(connect_s=5, total_s=0.1))
        assert (late.failure_class, late.sent) == (FailureClass.TotalTimeout, False)

    async def _stalled_handshake(self, transport, server_for, deadlines):
        async def script(peer):
            await peer.request()

        server = await server_for(script)
        server._scheme = "https"
        with pytest.raises(TransportError) as caught:
            await transport.send(request(server, deadlines))
        return server, caught.value

    async def test_cancelling_a_connect_closes_it(self, lean, server_for):
        """A caller who leaves during the handshake leaves no connection behind."""

        async def script(peer):
            await peer.request()

        server = await server_for(script)
        server._scheme = "https"
        sending = asyncio.create_task(lean.send(request(server)))
        await until(lambda: server.peers)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await until(server.peers[0].gone.is_set, "the close")

    async def test_a_connect_given_up_as_it_succeeds_is_closed(self, server_for):
        """Leaving in the very moment in which the connection comes up leaves none behind."""

        class Unlucky(HttptoolsTransport):
            async def _dial(self, *where):
                await super()._dial(*where)
                raise asyncio.CancelledError

        server = await server_for(answering(response(b"ok")))
        with pytest.raises(asyncio.CancelledError):
            await read(Unlucky(), server)
        await until(lambda: server.peers and server.peers[0].gone.is_set(), "the close")

    async def test_cancelling_at_every_step_leaves_no_connection_in_use(self, lean, server_for):
        """Wherever in an exchange the caller leaves, its connection is closed or free again."""

        async def script(peer):
            while True:
                await peer.request()
                await peer.send(response(b"x" * 10)[:-5])
                await peer.send(b"x" * 5)

        server = await server_for(script)
        for steps in range(40):
            task = asyncio.create_task(read(lean, server))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            idle = sum(len(connections) for connections in lean._idle.values())
            await until(lambda idle=idle: sum(not peer.gone.is_set() for peer in server.peers) <= idle)

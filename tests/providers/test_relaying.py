"""A piece of a body that arrives while its reader waits may be taken without waking the reader."""

import asyncio
import gzip

import pytest
from raw_server import chunked, response, until

from apikeyrouter.adapters.providers.transport import Deadlines, HttpRequest

HEAD = response(framing="none", headers=("Transfer-Encoding: chunked",))
LAST = b"0\r\n\r\n"


class Relay:
    """Takes what it may, and notes all in the order in which it came out."""

    def __init__(self, *refused):
        self.refused = refused
        self.offered = []
        self.out = []

    def __call__(self, piece):
        self.offered.append(piece)
        if piece in self.refused:
            return False
        self.out.append(piece)
        return True


class Told:
    """A server that sends what it is told, when it is told."""

    def __init__(self):
        self.pieces = asyncio.Queue()

    async def __call__(self, peer):
        await peer.request()
        while piece := await self.pieces.get():
            await peer.send(piece)
        await peer.gone.wait()


@pytest.fixture
async def told(lean, server_for):
    """Begin a chunked answer; return who tells the server, and the answer."""
    script = Told()
    server = await server_for(script)
    deadlines = Deadlines(connect_s=2, first_byte_s=2, idle_s=2, total_s=5)
    script.pieces.put_nowait(HEAD)
    answer = await lean.send(
        HttpRequest(method="GET", url=server.url, headers=(), body=b"", deadlines=deadlines)
    )
    return script, answer


async def reading(answer, relay):
    """Read to the end in the background, once the reader waits."""

    async def read():
        async for piece in answer.chunks(relay):
            relay.out.append(piece)

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    return task


async def test_what_is_taken_is_not_yielded_and_what_is_refused_is(told):
    """Everything comes out once, in order."""
    script, answer = told
    relay = Relay(b"second")
    task = await reading(answer, relay)
    for piece in (b"first", b"second", b"third"):
        script.pieces.put_nowait(chunked(piece))
        await until(lambda piece=piece: piece in relay.out)
    script.pieces.put_nowait(LAST)
    await task
    assert relay.offered == relay.out == [b"first", b"second", b"third"]


async def test_nothing_is_taken_past_a_reader_who_is_busy(told):
    """What came before still rests with the reader, and must come out before."""
    script, answer = told
    relay = Relay()
    chunks = answer.chunks(relay)
    script.pieces.put_nowait(chunked(b"first"))
    await until(lambda: answer._parts)
    script.pieces.put_nowait(chunked(b"second"))
    await until(lambda: len(answer._parts) == 2)
    assert await anext(chunks) == b"firstsecond"
    waiting = asyncio.create_task(anext(chunks))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not relay.offered


async def test_pieces_that_came_together_go_to_the_reader(told):
    """With the end behind them, or another piece: the reader sees both."""
    script, answer = told
    relay = Relay()
    task = await reading(answer, relay)
    script.pieces.put_nowait(chunked(b"first") + chunked(b"second"))
    await until(lambda: relay.out)
    script.pieces.put_nowait(chunked(b"last") + LAST)
    await task
    assert relay.out == [b"firstsecond", b"last"]
    assert not relay.offered


async def test_nothing_is_taken_once_nobody_wants_more(told):
    """The rest of a body that is discarded is nobody's."""
    script, answer = told
    relay = Relay()
    task = await reading(answer, relay)
    answer.finish()
    script.pieces.put_nowait(chunked(b"rest") + LAST)
    await task
    assert not relay.offered


async def test_a_compressed_body_is_not_offered(lean, server_for):
    """Only the reader inflates it."""
    body = gzip.compress(b"plain")

    async def script(peer):
        await peer.request()
        head = response(framing="none", headers=("Content-Encoding: gzip", "Transfer-Encoding: chunked"))
        await peer.send(head)
        await asyncio.sleep(0.01)
        await peer.send(chunked(body), LAST)

    server = await server_for(script)
    request = HttpRequest(method="GET", url=server.url, headers=(), body=b"", deadlines=Deadlines())
    relay = Relay()
    task = await reading(await lean.send(request), relay)
    await task
    assert b"".join(relay.out) == b"plain"
    assert not relay.offered

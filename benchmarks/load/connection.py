"""A keep-alive HTTP/1.1 connection of a client that checks each answer and costs next to nothing."""

import asyncio
import time
from typing import NamedTuple, cast

import httptools

from benchmarks.load.plan import Plan
from benchmarks.wire import DONE


class Exchange(NamedTuple):
    """One answer: when it began and ended, and what was wrong with it, if anything."""

    first_byte_ns: int
    end_ns: int
    failure: str | None


class ClientConnection(asyncio.Protocol):
    """One connection; the parser's callbacks keep httptools' names."""

    transport: asyncio.Transport
    _parser: httptools.HttpResponseParser
    _answer: asyncio.Future[Exchange]

    def __init__(self, request: bytes, *, stream: bool) -> None:
        self._request = request
        self._stream = stream
        self._first_byte_ns = 0
        self._tail = b""
        self._waiting = False
        self.usable = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)
        self.usable = True

    def exchange(self) -> asyncio.Future[Exchange]:
        """Send the request; the future resolves with the answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._first_byte_ns = 0
        self._tail = b""
        self._waiting = True
        self.transport.write(self._request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        if not self._first_byte_ns:
            self._first_byte_ns = time.monotonic_ns()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._finish(f"malformed: {error}")
            self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """Fail the answer that has not ended."""
        self.usable = False
        self._finish(f"connection lost: {error or 'closed by the peer'}")

    def on_body(self, data: bytes) -> None:
        """Keep the end of the body."""
        self._tail = (self._tail + data)[-64:] if len(data) < 64 else data[-64:]

    def on_message_complete(self) -> None:
        """Judge the answer and hand it over."""
        status = self._parser.get_status_code()
        self.usable = self._parser.should_keep_alive()
        if not self.usable:
            self.transport.close()
        self._finish(None if status == 200 and self._ended_well() else f"status {status}: {self._tail!r}")

    def _ended_well(self) -> bool:
        return self._tail.endswith(DONE) if self._stream else self._tail.rstrip().endswith(b"}")

    def _finish(self, failure: str | None) -> None:
        if self._waiting and not self._answer.done():
            self._answer.set_result(Exchange(self._first_byte_ns, time.monotonic_ns(), failure))
        self._waiting = False


def request_bytes(plan: Plan) -> bytes:
    """Return the request of a plan as it goes over the wire."""
    body = plan.body.encode()
    headers = {"host": f"127.0.0.1:{plan.port}", "content-type": "application/json"} | plan.headers
    lines = [f"POST {plan.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    head = "\r\n".join([*lines, f"content-length: {len(body)}", "", ""])
    return head.encode() + body


async def connect(plan: Plan, request: bytes) -> ClientConnection:
    """Open a connection for a plan's request."""
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(
        lambda: ClientConnection(request, stream=plan.stream), "127.0.0.1", plan.port
    )
    return connection

"""The mock upstream: answers chat requests at once from bytes made beforehand, and counts them."""

import argparse
import asyncio
import json
from typing import cast

import httptools
import uvloop

from benchmarks.wire import DONE, answer_body, stream_events

CHAT_PATH = b"/v1/chat/completions"
COUNT_PATH = b"/count"


def _whole(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"x-request-id: req-bench\r\n\r\n" + body


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


ANSWER = _whole(answer_body())
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\nx-request-id: req-bench\r\n\r\n"
)
STREAM_CHUNKS = [
    *(_http_chunk(event) for event in stream_events()),
    _http_chunk(DONE) + b"0\r\n\r\n",
]


class Count:
    """How many chat requests reached the upstream."""

    def __init__(self) -> None:
        self.requests = 0


class UpstreamConnection(asyncio.Protocol):
    """One connection; the parser's callbacks keep httptools' names."""

    transport: asyncio.Transport

    def __init__(self, count: Count, gap_s: float) -> None:
        self._count = count
        self._gap_s = gap_s
        self._parser = httptools.HttpRequestParser(self)
        self._path = b""
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        """Forget the last request."""
        self._path = b""
        self._body.clear()

    def on_url(self, url: bytes) -> None:
        """Collect the target."""
        self._path += url

    def on_body(self, data: bytes) -> None:
        """Collect the body."""
        self._body.append(data)

    def on_message_complete(self) -> None:
        """Answer."""
        if self._path == CHAT_PATH:
            self._count.requests += 1
            self._chat(b"".join(self._body))
        elif self._path == COUNT_PATH:
            self.transport.write(_whole(json.dumps(self._count.requests).encode()))
        else:
            self.transport.write(NOT_FOUND)

    def _chat(self, body: bytes) -> None:
        if b'"stream":true' in body or b'"stream": true' in body:
            self.transport.write(STREAM_HEAD + STREAM_CHUNKS[0])
            asyncio.get_running_loop().call_later(self._gap_s, self._continue, 1)
        else:
            self.transport.write(ANSWER)

    def _continue(self, position: int) -> None:
        if self.transport.is_closing():
            return
        self.transport.write(STREAM_CHUNKS[position])
        if position + 1 < len(STREAM_CHUNKS):
            asyncio.get_running_loop().call_later(self._gap_s, self._continue, position + 1)


async def serve(port: int, gap_ms: float) -> None:
    """Serve until the process is ended."""
    count = Count()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: UpstreamConnection(count, gap_ms / 1000), "127.0.0.1", port)
    await server.serve_forever()


def main() -> None:
    """Read the arguments and serve."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--gap-ms", type=float, default=5.0, help="time between two events of a stream")
    chosen = arguments.parse_args()
    uvloop.run(serve(chosen.port, chosen.gap_ms))


if __name__ == "__main__":
    main()

"""One HTTP/1.1 connection: it feeds the parser, keeps the deadlines, and knows if it may be used again.

A request is written once and never again, on no connection: once bytes are out, nobody can tell whether
the provider has acted on them, and the log promises that no upstream call is repeated.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from apikeyrouter.adapters.providers.countdown import Countdown
from apikeyrouter.adapters.providers.http_exchange import Exchange
from apikeyrouter.adapters.providers.limits import DRAIN_S, MAX_HEAD_BYTES
from apikeyrouter.domain.failures import FailureClass

_LARGE_BODY_BYTES = 64 * 1024


class UnfitHeadError(Exception):
    """Stops the parser: the head is too large, or frames its body in a way that we do not read."""


class Connection(asyncio.Protocol):
    """Carries one exchange at a time; between exchanges it rests in the pool."""

    __slots__ = (
        "_countdown",
        "_exchange",
        "_framed",
        "_head_bytes",
        "_headers",
        "_keeps_alive",
        "_loop",
        "_made",
        "_on_free",
        "_on_lost",
        "_otherwise",
        "_parser",
        "_paused",
        "_quiet_bytes",
        "_since_s",
        "_wire",
        "_within_s",
        "open",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_free: Callable[["Connection"], None],
        on_lost: Callable[["Connection"], None],
    ) -> None:
        self.open = False
        self._loop = loop
        self._on_free = on_free
        self._on_lost = on_lost
        self._parser = HttpResponseParser(self)
        self._countdown = Countdown(loop, self._deadline, self._expired)
        self._exchange: Exchange | None = None
        self._headers: dict[str, str] = {}
        self._paused = False
        self._made = False

    def begin(self, exchange: Exchange, head: bytes, body: bytes) -> None:
        """Write a request and hand all that arrives from now on to its exchange."""
        self._exchange = exchange
        self._headers = {}
        self._head_bytes = self._quiet_bytes = 0
        self._keeps_alive = self._framed = False
        exchange.runs_on(self)
        self._expect(FailureClass.FirstByteTimeout, exchange.deadlines.first_byte_s)
        if len(body) > _LARGE_BODY_BYTES:
            self._wire.writelines((head, body))
        else:
            self._wire.write(head + body)

    def rest(self, idle_s: float) -> None:
        """Wait for the next exchange, but not for longer than this."""
        self._expect(FailureClass.IdleTimeout, idle_s)

    # --- what an exchange asks for ---

    def pause(self) -> None:
        """Stop reading; silence is not the peer's fault while we do not listen."""
        exchange = self._exchange
        if exchange is not None and not self._paused:
            self._paused = True
            self._wire.pause_reading()
            self._expect(FailureClass.TotalTimeout, exchange.deadlines.total_s)

    def resume(self) -> None:
        """Read on after a pause."""
        exchange = self._exchange
        if exchange is not None and self._paused:
            self._listen()
            self._expect(FailureClass.IdleTimeout, exchange.deadlines.idle_s)

    def drain(self) -> None:
        """Give the end of the body a moment to arrive, however steadily it trickles."""
        exchange = self._exchange
        if exchange is not None:
            self._listen()
            exchange.total_at_s = min(exchange.total_at_s, self._loop.time() + DRAIN_S)
            self._expect(FailureClass.IdleTimeout, DRAIN_S)

    def abort(self) -> None:
        """Close at once, without waiting for what is still to be written."""
        self.open = False
        self._countdown.stop()
        if self._made:
            self._wire.abort()

    # --- called by the event loop ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the way out."""
        self._wire = cast("asyncio.Transport", transport)
        self.open = self._made = True

    def data_received(self, data: bytes) -> None:
        """Parse a packet, then see what it means for the exchange."""
        exchange = self._exchange
        if exchange is None:
            self.abort()  # nobody asked: whatever this is, it must not become the next answer
            return
        self._quiet_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self._keeps_alive = False
            self._break(exchange, FailureClass.MalformedAnswer)
        else:
            self._progress(exchange)

    def eof_received(self) -> None:
        """Take the peer's goodbye as the end of a body that has no other end."""
        exchange = self._exchange
        self.open = False
        if exchange is None:
            return
        if exchange.status and not self._framed:
            self._conclude(exchange)
        else:
            self._break(exchange, FailureClass.BrokenAnswer)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Tell whoever still waits."""
        self.open = False
        self._countdown.stop()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.fail(FailureClass.BrokenAnswer)
        self._on_lost(self)

    # --- called by the parser ---

    def on_message_begin(self) -> None:
        """Refuse a second answer to one question."""
        if self._exchange is None or self._exchange.complete:
            raise UnfitHeadError

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, within bounds; trailers count but are dropped."""
        self._head_bytes += len(name) + len(value)
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")
        if self._head_bytes > MAX_HEAD_BYTES:
            raise UnfitHeadError

    def on_headers_complete(self) -> None:
        """Hand the head over, unless it is an interim one."""
        status = self._parser.get_status_code()
        headers, self._headers = self._headers, {}
        exchange = self._exchange
        if exchange is None or status < 200:
            return
        coding = headers.get("transfer-encoding")
        if coding is not None and coding.lower() != "chunked":
            raise UnfitHeadError
        self._framed = coding is not None or "content-length" in headers
        exchange.headers = headers
        exchange.status = status

    def on_body(self, data: bytes) -> None:
        """Hand a piece of the body over."""
        self._quiet_bytes = 0
        exchange = self._exchange
        if exchange is not None and not exchange.head_only:
            exchange.add(data)

    def on_message_complete(self) -> None:
        """Note the end of the answer, unless it was an interim one."""
        exchange = self._exchange
        if exchange is not None and exchange.status:
            self._keeps_alive = self._parser.should_keep_alive()
            exchange.end()

    # --- in between ---

    def _progress(self, exchange: Exchange) -> None:
        if exchange.complete or (exchange.head_only and exchange.status):
            self._conclude(exchange)
        elif self._quiet_bytes > MAX_HEAD_BYTES:
            # Headers, trailers, interim answers or chunk extensions without end.
            self._break(exchange, FailureClass.MalformedAnswer)
        else:
            if self._otherwise is FailureClass.IdleTimeout:
                self._since_s = self._loop.time()
            elif exchange.status:
                self._expect(FailureClass.IdleTimeout, exchange.deadlines.idle_s)
            exchange.settle()

    def _conclude(self, exchange: Exchange) -> None:
        self._exchange = None
        exchange.end()
        if self._keeps_alive and not self._wire.get_write_buffer_size():
            self._listen()
            self._on_free(self)
        else:
            self.abort()
        exchange.settle()

    def _listen(self) -> None:
        if self._paused:
            self._paused = False
            self._wire.resume_reading()

    def _break(self, exchange: Exchange, failure_class: FailureClass) -> None:
        self._exchange = None
        exchange.fail(failure_class)
        exchange.settle()
        self.abort()

    def _expect(self, otherwise: FailureClass, within_s: float) -> None:
        """Wait for a sign of life for so long, or call its absence that; never past the end of the whole."""
        self._otherwise = otherwise
        self._within_s = within_s
        self._since_s = self._loop.time()
        self._countdown.set()

    def _deadline(self) -> float:
        at_s = self._since_s + self._within_s
        return at_s if self._exchange is None else min(at_s, self._exchange.total_at_s)

    def _expired(self) -> None:
        exchange = self._exchange
        if exchange is None:
            self.abort()
        elif self._since_s + self._within_s < exchange.total_at_s:
            self._break(exchange, self._otherwise)
        else:
            self._break(exchange, FailureClass.TotalTimeout)

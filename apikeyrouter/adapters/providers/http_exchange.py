"""One answer as it arrives on a connection: the head, then a body that never grows past its bound."""

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from apikeyrouter.adapters.providers.body_decoding import decode_whole, inflated, inflater_for
from apikeyrouter.adapters.providers.limits import DRAIN_BYTES, STREAM_BUFFER_BYTES
from apikeyrouter.adapters.providers.transport import Deadlines, Relay, TransportError
from apikeyrouter.domain.failures import FailureClass


class Flow(Protocol):
    """What an exchange may ask of the connection it runs on."""

    def pause(self) -> None:
        """Let the peer wait: the reader is behind."""

    def resume(self) -> None:
        """Go on reading."""

    def drain(self) -> None:
        """Expect the end of the body very soon."""

    def abort(self) -> None:
        """Close at once."""


class Exchange:
    """The `HttpResponse` of the lean transport. The connection feeds it, the caller reads it."""

    __slots__ = (
        "_buffered_bytes",
        "_discarding",
        "_failure",
        "_flow",
        "_limit_bytes",
        "_loop",
        "_parts",
        "_paused",
        "_relay",
        "_waiter",
        "complete",
        "deadlines",
        "head_only",
        "headers",
        "status",
        "total_at_s",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, deadlines: Deadlines, *, head_only: bool) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.complete = False
        self.head_only = head_only
        self.deadlines = deadlines
        self.total_at_s = loop.time() + deadlines.total_s
        self._loop = loop
        self._flow: Flow | None = None
        self._parts: list[bytes] = []
        self._buffered_bytes = 0
        self._limit_bytes: int | None = None
        self._discarding = False
        self._paused = False
        self._failure: FailureClass | None = None
        self._relay: Relay | None = None
        self._waiter: asyncio.Future[None] | None = None

    # --- fed by the connection ---

    def runs_on(self, flow: Flow) -> None:
        """Learn which connection carries this exchange."""
        self._flow = flow

    def add(self, data: bytes) -> None:
        """Take a piece of the body."""
        self._buffered_bytes += len(data)
        if not self._discarding:
            self._parts.append(data)

    def end(self) -> None:
        """Note that the body is whole; from here on the connection is no longer this exchange's."""
        self.complete = True
        self._flow = self._relay = None

    def fail(self, failure_class: FailureClass) -> None:
        """Note that no more will come, and why."""
        self._flow = None
        if not self.complete:
            self._failure = self._failure or failure_class
            self._wake()

    def settle(self) -> None:
        """After each packet: hold the bounds, and wake a reader who has something to read."""
        if self._relay is not None and self._relayed(self._relay):
            return
        if self.complete:
            self._wake()
        elif self._limit_bytes is not None:
            self._hold_limit(self._limit_bytes)
        elif self._discarding:
            self._hold_drain()
        elif self.status:
            if self._buffered_bytes > STREAM_BUFFER_BYTES:
                self._hold_buffer()
            self._wake()

    def _hold_limit(self, limit_bytes: int) -> None:
        if self._buffered_bytes > limit_bytes:
            self._break(FailureClass.MalformedAnswer)

    def _hold_drain(self) -> None:
        if self._buffered_bytes > DRAIN_BYTES:
            self.close()

    def _hold_buffer(self) -> None:
        if self._flow is not None:
            self._paused = True
            self._flow.pause()

    def _break(self, failure_class: FailureClass) -> None:
        flow = self._flow
        self.fail(failure_class)
        if flow is not None:
            flow.abort()

    def _relayed(self, relay: Relay) -> bool:
        """Offer a piece that came alone, if the reader waits: then all before it has been passed on."""
        waiter, parts = self._waiter, self._parts
        if waiter is None or waiter.done() or len(parts) != 1 or not relay(parts[0]):
            return False
        parts.clear()
        self._buffered_bytes = 0
        return True

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # --- used by the caller ---

    async def head(self) -> None:
        """Return once status and headers are there."""
        try:
            while not self.status:
                await self._arrival()
        except BaseException:
            self.close()
            raise

    async def read(self, limit_bytes: int) -> bytes:
        """Return the whole decoded body."""
        self._limit_bytes = limit_bytes
        self._hold_limit(limit_bytes)
        self._resume()
        try:
            while not self.complete:
                await self._arrival()
        except BaseException:
            self.close()
            raise
        return decode_whole(self._take(), self.headers, limit_bytes)

    def chunks(self, relay: Relay | None = None) -> AsyncIterator[bytes]:
        """Yield decoded body bytes as they arrive, but for what `relay` takes."""
        inflater = inflater_for(self.headers)
        if inflater is not None:
            return inflated(self, inflater)
        self._relay = relay
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """Return what has arrived since the last call, waiting for at least one byte."""
        while not self._parts:
            if self.complete:
                raise StopAsyncIteration
            try:
                await self._arrival()
            except BaseException:
                self.close()
                raise
        chunk = self._take()
        if self._paused:
            self._resume()
        return chunk

    def finish(self) -> None:
        """Discard what is left; the connection lives on if that is little and comes soon."""
        if self._flow is not None:
            self._take()
            self._discarding = True
            self._flow.drain()

    def close(self) -> None:
        """Close the connection at once, unless the body has arrived to its end."""
        self._break(FailureClass.BrokenAnswer)

    def _arrival(self) -> asyncio.Future[None]:
        """Return what resolves with the next news.

        Whoever awaits it closes when that is cut short: a cancelled reader never comes back, and an upstream
        that still computes must hear of it now.
        """
        if self._failure is not None:
            raise TransportError(self._failure, sent=True)
        self._waiter = waiter = self._loop.create_future()
        return waiter

    def _take(self) -> bytes:
        parts = self._parts
        self._parts = []
        self._buffered_bytes = 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _resume(self) -> None:
        self._paused = False
        if self._flow is not None:
            self._flow.resume()

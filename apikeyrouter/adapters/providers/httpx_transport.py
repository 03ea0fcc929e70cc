"""The portable transport, over httpx: proxies, HTTP/2, and the seam for users' own transports and mocks."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from http.cookiejar import DefaultCookiePolicy

import httpx

from apikeyrouter.adapters.providers.body_decoding import decode_whole, inflated, inflater_for, malformed
from apikeyrouter.adapters.providers.limits import DRAIN_BYTES, DRAIN_S
from apikeyrouter.adapters.providers.request_head import head_of, target_of
from apikeyrouter.adapters.providers.transport import Deadlines, HttpRequest, Relay, TransportError
from apikeyrouter.domain.failures import FailureClass

_NOTHING_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)


class HttpxTransport:
    """Implements `Transport` over a client of one's own, or a plain one.

    A client that is passed in keeps its ways: its authentication, its proxies, its cookies, its limits.
    """

    def __init__(self, client: httpx.AsyncClient | None = None) -> None:
        self._owns_client = client is None
        self._client = client if client is not None else _plain_client()
        self._closing: set[asyncio.Task[None]] = set()

    async def send(self, request: HttpRequest) -> "HttpxResponse":
        """Send once, without following redirects; return once status and headers are there."""
        head_of(request, target_of(request.method, request.url))  # refuses what must not be written
        clock = _Clock(request.deadlines)
        deadlines = request.deadlines
        try:
            async with asyncio.timeout_at(clock.within(deadlines.connect_s + deadlines.first_byte_s)):
                response = await self._client.send(self._built(request), stream=True, follow_redirects=False)
        except Exception as error:  # noqa: BLE001 - users' transports and hooks raise what they like
            failure = _classified(error, clock, FailureClass.FirstByteTimeout)
        else:
            return HttpxResponse(response, clock, self._closing)
        raise failure  # here and not above, so that no library's exception hangs on it as context

    async def close(self) -> None:
        """Close idle connections, unless the client is the user's."""
        if self._closing:
            await asyncio.wait(self._closing)
        if self._owns_client:
            await self._client.aclose()

    def _built(self, request: HttpRequest) -> httpx.Request:
        connect_s = request.deadlines.connect_s
        return self._client.build_request(
            request.method,
            request.url,
            headers=[*request.headers, ("accept-encoding", "identity")],
            content=request.body,
            timeout=httpx.Timeout(connect=connect_s, pool=connect_s, read=None, write=None),
        )


class HttpxResponse:
    """Implements `HttpResponse`; httpx closes asynchronously, so `close` starts a task that does."""

    def __init__(self, response: httpx.Response, clock: "_Clock", closing: "set[asyncio.Task[None]]") -> None:
        self.status = response.status_code
        self.headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers.raw
        }
        self._response = response
        self._raw = response.aiter_raw()
        if response.is_stream_consumed:  # a mock's answer is there from the start, and decoded
            self._raw = _one_piece(response.content)
            self.headers.pop("content-encoding", None)
        self._clock = clock
        self._closing = closing

    async def read(self, limit_bytes: int) -> bytes:
        """Return the whole decoded body."""
        parts: list[bytes] = []
        size = 0
        while data := await self._next():
            parts.append(data)
            size += len(data)
            if size > limit_bytes:
                self.close()
                raise malformed()
        return decode_whole(b"".join(parts), self.headers, limit_bytes)

    def chunks(self, relay: Relay | None = None) -> AsyncIterator[bytes]:  # noqa: ARG002 - nothing is offered
        """Yield decoded body bytes as they arrive."""
        inflater = inflater_for(self.headers)
        return self if inflater is None else inflated(self, inflater)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece of the body."""
        data = await self._next()
        if not data:
            raise StopAsyncIteration
        return data

    def finish(self) -> None:
        """Read what is left in the background, within bounds, so that the connection lives on."""
        self._start(self._drain())

    def close(self) -> None:
        """Close the connection at once, unless the body has been read to its end."""
        if not self._response.is_closed:
            self._start(self._aclose())

    async def _next(self) -> bytes:
        """Return the next piece, or nothing at the end."""
        try:
            async with asyncio.timeout_at(self._clock.within(self._clock.deadlines.idle_s)):
                return await anext(self._raw, b"")
        except asyncio.CancelledError:
            self.close()
            raise
        except Exception as error:  # noqa: BLE001 - users' transports raise what they like
            failure = _classified(error, self._clock, FailureClass.IdleTimeout)
        self.close()
        raise failure

    async def _drain(self) -> None:
        size = 0
        with suppress(TransportError, TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while size <= DRAIN_BYTES and (data := await self._next()):
                    size += len(data)
        await self._aclose()

    async def _aclose(self) -> None:
        with suppress(Exception):
            await self._response.aclose()

    def _start(self, closing: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(closing)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _one_piece(content: bytes) -> AsyncIterator[bytes]:
    yield content


class _Clock:
    """The deadlines of one exchange in the loop's time."""

    def __init__(self, deadlines: Deadlines) -> None:
        self.deadlines = deadlines
        self._loop = asyncio.get_running_loop()
        self._total_at_s = self._phase_at_s = self._loop.time() + deadlines.total_s

    def within(self, allowed_s: float) -> float:
        """Return the end of a phase, no later than the end of all."""
        self._phase_at_s = min(self._loop.time() + allowed_s, self._total_at_s)
        return self._phase_at_s

    def fault(self, otherwise: FailureClass) -> FailureClass:
        """Name which deadline has passed: the one that was set, since timers may ring a moment early."""
        return FailureClass.TotalTimeout if self._phase_at_s >= self._total_at_s else otherwise


def _classified(error: Exception, clock: _Clock, when_late: FailureClass) -> TransportError:
    """Keep the class of an error and drop its text."""
    if isinstance(error, TimeoutError):
        return TransportError(clock.fault(when_late), sent=True)
    if isinstance(error, _NOTHING_SENT):
        return TransportError(FailureClass.ConnectFailed, sent=False)
    if isinstance(error, httpx.RemoteProtocolError) and not _hung_up(error):
        return TransportError(FailureClass.MalformedAnswer, sent=True)
    return TransportError(FailureClass.BrokenAnswer, sent=True)


def _hung_up(error: httpx.RemoteProtocolError) -> bool:
    # httpx has one class for nonsense and for silence; only its text tells them apart (0.28).
    text = str(error)
    return "disconnected" in text or "closed" in text


def _plain_client() -> httpx.AsyncClient:
    """Build a client that keeps nothing of one key's answers for another key's requests."""
    client = httpx.AsyncClient(limits=httpx.Limits(max_connections=None, max_keepalive_connections=100))
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return client

"""The transport of the hot path: a lean HTTP/1.1 client with a pool of connections.

It knows no proxies (`HTTPS_PROXY`), no HTTP/2, no cookies, and follows no redirects: use `HttpxTransport`
where those are wanted. The number of connections in use is bounded by whoever admits the requests.
"""

import asyncio
import ssl
from functools import cached_property

from apikeyrouter.adapters.providers.http_connection import Connection
from apikeyrouter.adapters.providers.http_exchange import Exchange
from apikeyrouter.adapters.providers.limits import IDLE_CONNECTION_S, MAX_IDLE_CONNECTIONS_PER_ORIGIN
from apikeyrouter.adapters.providers.request_head import Origin, head_of, target_of
from apikeyrouter.adapters.providers.transport import Deadlines, HttpRequest, TransportError
from apikeyrouter.domain.failures import FailureClass


class HttptoolsTransport:
    """Implements `Transport`. The last connection to come back is the first to be used again."""

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext | None = None,
        max_idle_per_origin: int = MAX_IDLE_CONNECTIONS_PER_ORIGIN,
        idle_connection_s: float = IDLE_CONNECTION_S,
    ) -> None:
        self._given_ssl_context = ssl_context
        self._max_idle_per_origin = max_idle_per_origin
        self._idle_connection_s = idle_connection_s
        self._idle: dict[Origin, list[Connection]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    async def send(self, request: HttpRequest) -> Exchange:
        """Write the request on a free or a new connection; return once status and headers are there."""
        target = target_of(request.method, request.url)
        head = head_of(request, target)
        loop = self._running_loop()
        exchange = Exchange(loop, request.deadlines, head_only=request.method == "HEAD")
        connection = self._free(target.origin)
        if connection is None:
            connection = await self._connect(loop, target.origin, request.deadlines)
        connection.begin(exchange, head, request.body)
        await exchange.head()
        return exchange

    async def close(self) -> None:
        """Close idle connections."""
        for connections in self._idle.values():
            for connection in tuple(connections):
                connection.abort()
        self._idle.clear()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._idle.clear()  # connections belong to the loop that made them, and that one is gone
            self._loop = loop
        return loop

    def _free(self, origin: Origin) -> Connection | None:
        connections = self._idle.get(origin)
        while connections:
            connection = connections.pop()
            if connection.open:
                return connection
        return None

    async def _connect(
        self, loop: asyncio.AbstractEventLoop, origin: Origin, deadlines: Deadlines
    ) -> Connection:
        connection = self._new_connection(loop, origin)
        try:
            await self._dial(loop, connection, origin, deadlines)
        except BaseException:
            connection.abort()  # it may have come up in the very moment of giving up
            raise
        if not connection.open:
            raise TransportError(FailureClass.ConnectFailed, sent=False)  # the peer hung up on the spot
        return connection

    async def _dial(
        self, loop: asyncio.AbstractEventLoop, connection: Connection, origin: Origin, deadlines: Deadlines
    ) -> None:
        try:
            async with asyncio.timeout(min(deadlines.connect_s, deadlines.total_s)):
                await loop.create_connection(
                    lambda: connection,
                    origin.host,
                    origin.port,
                    ssl=self._ssl_context if origin.tls else None,
                )
        except TimeoutError:
            late = deadlines.total_s <= deadlines.connect_s
        except (OSError, ValueError):  # refused, unknown host, bad certificate; a host that is no name
            late = False
        else:
            return
        raise TransportError(FailureClass.TotalTimeout if late else FailureClass.ConnectFailed, sent=False)

    def _new_connection(self, loop: asyncio.AbstractEventLoop, origin: Origin) -> Connection:
        def keep(connection: Connection) -> None:
            connections = self._idle.setdefault(origin, [])
            if len(connections) < self._max_idle_per_origin:
                connections.append(connection)
                connection.rest(self._idle_connection_s)
            else:
                connection.abort()

        def forget(connection: Connection) -> None:
            connections = self._idle.get(origin, [])
            if connection in connections:
                connections.remove(connection)

        return Connection(loop, keep, forget)

    @cached_property
    def _ssl_context(self) -> ssl.SSLContext:
        if self._given_ssl_context is not None:
            return self._given_ssl_context
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        return context

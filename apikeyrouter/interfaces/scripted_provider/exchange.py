"""One HTTP exchange over ASGI: read, rest, send, cut; the client's leaving is noticed wherever it waits."""

import asyncio
from typing import Any

from starlette.types import Receive, Scope, Send

from apikeyrouter.interfaces.scripted_provider.connections import Connections
from apikeyrouter.interfaces.scripted_provider.delivery import Delivery, Ending
from apikeyrouter.interfaces.scripted_provider.ledger import Call
from apikeyrouter.interfaces.scripted_provider.limits import Headers
from apikeyrouter.interfaces.scripted_provider.refusals import RefusedError, too_large

MOST_BODY_BYTES = 64 << 20
FILLER_HEADER = b"x-filler: " + b"f" * 1000 + b"\r\n"
FILLER_REST_S = 0.001


class ClientGoneError(Exception):
    """Raised when the client closed the connection before its answer was complete."""


class Exchange:
    """Request and response of one call."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, connections: Connections) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope.get("query_string", b"")
        self.headers: Headers = scope["headers"]
        self.client: tuple[str, int] | None = scope.get("client")
        self._receive = receive
        self._send = send
        self._connections = connections
        self._leaving: asyncio.Future[None] | None = None

    def close(self) -> None:
        """Stop watching the client."""
        if self._leaving is not None:
            self._leaving.cancel()

    async def body(self) -> bytes:
        """Read the request's body."""
        message = await self._part()
        body: bytes = message.get("body", b"")
        while message.get("more_body"):
            message = await self._part()
            body += message.get("body", b"")
            if len(body) > MOST_BODY_BYTES:
                raise RefusedError(too_large())
        return body

    async def _part(self) -> Any:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        return message

    def _watched(self) -> asyncio.Future[None]:
        if self._leaving is None:
            self._leaving = asyncio.ensure_future(self._left())
        return self._leaving

    async def _left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def rest(self, seconds: float) -> None:
        """Wait that long; raise `ClientGoneError` as soon as the client leaves."""
        if seconds > 0:
            await asyncio.wait((self._watched(),), timeout=seconds)
        if self._leaving is not None and self._leaving.done():
            raise ClientGoneError

    async def outlast(self, future: asyncio.Future[None]) -> None:
        """Wait for a future; raise `ClientGoneError` as soon as the client leaves."""
        await asyncio.wait((self._watched(), future), return_when=asyncio.FIRST_COMPLETED)
        if self._watched().done():
            raise ClientGoneError

    async def hang(self) -> None:
        """Wait until the client gives up."""
        await asyncio.wait((self._watched(),))
        raise ClientGoneError

    async def deliver(self, delivery: Delivery, call: Call | None = None) -> None:
        """Send a delivery to its end; `call` learns the status and the tokens as they are sent."""
        if delivery.status is not None:
            await self._start(delivery.status, delivery)
            if call is not None:
                call.status = delivery.status
        complete = await self._send_steps(delivery, call)
        match delivery.ending:
            case Ending.Complete if not complete:
                await self._write(b"", more=False)
            case Ending.CompleteThenClose:
                await self._cut()
            case Ending.Cut:
                await self._cut()
            case Ending.Hang:
                await self.hang()
            case Ending.EndlessHeaders:
                await self._endless_headers()

    async def _start(self, status: int, delivery: Delivery) -> None:
        headers = [(b"content-type", delivery.content_type), *delivery.headers]
        if delivery.content_length is not None:
            headers.append((b"content-length", b"%d" % delivery.content_length))
        if delivery.content_length is None:
            self._watched()  # a stream is long enough to be left
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def _send_steps(self, delivery: Delivery, call: Call | None) -> bool:
        """Send the steps; tell whether the body is complete by its length."""
        left = delivery.content_length
        completes = delivery.ending in {Ending.Complete, Ending.CompleteThenClose}
        for data, tokens, rest_s in delivery.steps:
            await self.rest(rest_s)
            if left is not None:
                left -= len(data)
            if call is not None:
                call.input_tokens = delivery.input_tokens
                call.output_tokens += tokens
            await self._write(data, more=not (completes and left == 0))
        return completes and left == 0

    async def _write(self, data: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def _cut(self) -> None:
        """Close the connection under the client; what was sent still arrives."""
        transport = self._connections.find(self.client)
        if transport is None:
            return  # served by another server: returning early makes it close the connection
        transport.close()
        await asyncio.wait((self._watched(),))

    async def _endless_headers(self) -> None:
        transport = self._connections.find(self.client)
        if transport is not None:
            transport.write(b"HTTP/1.1 200 OK\r\n")
        while transport is not None:
            transport.write(FILLER_HEADER)
            await self.rest(FILLER_REST_S)

"""What our own server offers its applications beyond ASGI: to write to the wire, and to hear who leaves.

uvicorn writes the head apart from the body, and searches every name and every value of it with a regular
expression, of which a routed answer has many. Here the head is one text, and leaves with what comes first of
the body.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from apikeyrouter.interfaces.http.asgi import Scope, Send

NAME = "apikeyrouter.http"
Extension = dict[str, Any]


def extension(scope: Scope) -> Extension | None:
    """Return what the server offers, None under any other than ours."""
    offered: Extension | None = scope.get("extensions", {}).get(NAME)
    return offered


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol for one connection, with the extension.

    `whole`, `begin` and `chunk` write to the wire. `waiting` is where tasks stand that are cancelled when the
    client leaves; `listen` makes sure that this is heard.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Open the extension of this connection; it must not hold the connection, or that is never freed."""
        super().connection_made(transport)
        self._waiting: set[asyncio.Task[Any]] = set()
        self._extensions: dict[str, dict[object, object]] = {
            NAME: {
                "whole": _write_whole,
                "begin": _begin,
                "chunk": _write_chunk,
                "listen": _listen,
                "waiting": self._waiting,
            }
        }

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel who works for a client that is gone."""
        super().connection_lost(exc)
        while self._waiting:
            self._waiting.pop().cancel()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        cycle.scope["extensions"] = self._extensions
        super()._start_asgi_task(cycle, app)


# --- a cycle is found by its `send`: were it kept in its scope, it would hold itself ------------------


def _write_whole(send: Send, block: bytes, body: bytes) -> None:
    """Write an answer but its end, for which an empty last chunk is to be sent."""
    cycle: RequestResponseCycle = send.__self__  # type: ignore[attr-defined]
    if not cycle.disconnected:
        head = _head(cycle, block, b"content-length: %d" % len(body))
        cycle.transport.writelines((head, body))


def _begin(send: Send, block: bytes, chunk: bytes) -> None:
    """Write the head of an answer in chunks, and the first of them if there is one."""
    cycle: RequestResponseCycle = send.__self__  # type: ignore[attr-defined]
    if not cycle.disconnected:
        head = _head(cycle, block, b"transfer-encoding: chunked")
        cycle.transport.write(b"%b%x\r\n%b\r\n" % (head, len(chunk), chunk) if chunk else head)


def _write_chunk(send: Send, chunk: bytes) -> bool:
    """Write a chunk, which is not empty; False if the client must be waited for."""
    cycle: RequestResponseCycle = send.__self__  # type: ignore[attr-defined]
    if cycle.flow.write_paused:
        return False
    if not cycle.disconnected:
        cycle.transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
    return True


def _head(cycle: RequestResponseCycle, block: bytes, framing: bytes) -> bytes:
    """Render a head, and note in the cycle what `send` does for an `http.response.start`."""
    cycle.response_started = True
    cycle.waiting_for_100_continue = False
    cycle.chunked_encoding = framing.startswith(b"transfer-encoding")
    ours = b"".join([b"%b: %b\r\n" % header for header in cycle.default_headers])
    closing = b"" if cycle.keep_alive else b"\r\nconnection: close"
    return b"HTTP/1.1 200 OK\r\n%b%b\r\n%b%b\r\n\r\n" % (ours, block, framing, closing)


def _listen(send: Send) -> None:
    """Read on: a connection whose reading rests, as after a large body, does not tell of its end."""
    cycle: RequestResponseCycle = send.__self__  # type: ignore[attr-defined]
    cycle.flow.resume_reading()

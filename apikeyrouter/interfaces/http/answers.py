"""Answers with status 200, in as few writes as they can be: each is a call of the system.

uvicorn writes the head apart from the body, and searches every name and every value of it with a regular
expression, of which a routed answer has many. Under our own server an ASGI extension renders and checks the
head as one text and writes it with what comes first of the body.
"""

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from apikeyrouter.interfaces.http.asgi import Scope, Send

DIRECT_WRITES = "apikeyrouter.http.direct_writes"
CONTROLS = bytes((*range(0x09), *range(0x0A, 0x20), 0x7F))
"""What no header may have in it: everything that uvicorn refuses too."""

Lines = list[str]
"""One header each, as `name: value`, names in small letters."""


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, which lets its applications write to the wire themselves."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        cycle.scope["extensions"] = _EXTENSIONS
        super()._start_asgi_task(cycle, app)


async def send_whole(scope: Scope, send: Send, lines: Lines, body: bytes) -> None:
    """Send a whole answer, head and body in one write."""
    block, direct = checked(lines), _direct_writes(scope)
    if direct is not None:
        direct["whole"](send, block, body)
        body = b""
    else:
        await _start(send, block, (b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.body", "body": body})


class ChunkedAnswer:
    """An answer of unknown length; its head leaves with its first chunk."""

    __slots__ = ("_block", "_direct", "_send")

    def __init__(self, scope: Scope, send: Send, lines: Lines) -> None:
        self._block = checked(lines)
        self._direct = _direct_writes(scope)
        self._send = send

    async def write(self, chunk: bytes) -> None:
        """Send a chunk; returns when the client takes more."""
        block, self._block = self._block, b""
        if self._direct is not None:
            if self._direct["chunk"](self._send, block, chunk):
                return
        elif block:
            await _start(self._send, block)
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def end(self, chunk: bytes = b"") -> None:
        """Send the last chunk, if there is one, and the end of the answer."""
        if self._block:
            await self.write(b"")
        await self._send({"type": "http.response.body", "body": chunk})


def _direct_writes(scope: Scope) -> dict[str, Any] | None:
    direct: dict[str, Any] | None = scope.get("extensions", {}).get(DIRECT_WRITES)
    return direct


async def _start(send: Send, block: bytes, *framing: tuple[bytes, bytes]) -> None:
    headers = [tuple(line.split(b": ", 1)) for line in block.split(b"\r\n")]
    await send({"type": "http.response.start", "status": 200, "headers": [*headers, *framing]})


def checked(lines: Lines) -> bytes:
    """Join header lines, or raise ValueError if any could end early or begin another."""
    block = "\r\n".join(lines).encode("utf-8", "replace")
    line_ends = 2 * (len(lines) - 1)
    if len(block.translate(None, CONTROLS)) + line_ends != len(block):
        raise ValueError("a header has a control character in it")
    return block


# --- what our own server does of it; a cycle is found by its `send` ---------------------------------
#
# Were the cycle kept in its scope, it would hold itself, and each request would wait for the collector.


def _write_whole(send: Send, block: bytes, body: bytes) -> None:
    """Write an answer but its end, for which an empty last chunk is to be sent."""
    cycle: RequestResponseCycle = send.__self__  # type: ignore[attr-defined]
    if not cycle.disconnected:
        cycle.transport.write(_head(cycle, block, b"content-length: %d" % len(body)) + body)


def _write_chunk(send: Send, block: bytes, chunk: bytes) -> bool:
    """Write a chunk, with the head before it if that is given; False if the client must be waited for."""
    cycle: RequestResponseCycle = send.__self__  # type: ignore[attr-defined]
    if cycle.flow.write_paused and not block:
        return False
    if not cycle.disconnected:
        head = _head(cycle, block, b"transfer-encoding: chunked") if block else b""
        cycle.transport.write(b"%b%x\r\n%b\r\n" % (head, len(chunk), chunk) if chunk else head)
    return True


def _head(cycle: RequestResponseCycle, block: bytes, framing: bytes) -> bytes:
    """Render a head, and note in the cycle what `send` does for an `http.response.start`."""
    cycle.response_started = True
    cycle.waiting_for_100_continue = False
    cycle.chunked_encoding = framing.startswith(b"transfer-encoding")
    ours = b"".join([b"%b: %b\r\n" % header for header in cycle.default_headers])
    closing = b"" if cycle.keep_alive else b"\r\nconnection: close"
    return b"HTTP/1.1 200 OK\r\n%b%b\r\n%b%b\r\n\r\n" % (ours, block, framing, closing)


_EXTENSIONS: Final[dict[str, dict[object, object]]] = {
    DIRECT_WRITES: {"whole": _write_whole, "chunk": _write_chunk}
}

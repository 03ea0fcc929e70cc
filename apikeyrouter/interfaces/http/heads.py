"""The head of an answer as one text, so that it is rendered and checked once and not header by header.

uvicorn searches every name and every value with a regular expression, and a routed answer has many of them.
Under our own server an ASGI extension takes the whole head instead.
"""

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from apikeyrouter.interfaces.http.asgi import Scope, Send

WHOLE_HEADS = "apikeyrouter.http.head"
CONTROLS = bytes((*range(0x09), *range(0x0A, 0x20), 0x7F))
"""What no header may have in it: everything that uvicorn refuses too."""

Lines = list[str]
"""One header each, as `name: value`, names in small letters."""


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, which offers its applications to write a head at once."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        cycle.scope["extensions"] = _EXTENSIONS
        super()._start_asgi_task(cycle, app)


async def send_whole(scope: Scope, send: Send, lines: Lines, body: bytes) -> None:
    """Answer with status 200; head and body leave together, since each write is a call of the system."""
    extension = _extension(scope)
    if extension is not None:
        extension["write"](send, checked(lines), body)
        await send({"type": "http.response.body", "body": b""})
        return
    await _start(send, lines, (b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.body", "body": body})


async def send_head(scope: Scope, send: Send, lines: Lines) -> None:
    """Begin an answer with status 200 whose body comes in chunks."""
    extension = _extension(scope)
    if extension is not None:
        extension["write"](send, checked(lines), None)
        return
    await _start(send, lines)


def _extension(scope: Scope) -> dict[str, Any] | None:
    extension: dict[str, Any] | None = scope.get("extensions", {}).get(WHOLE_HEADS)
    return extension


async def _start(send: Send, lines: Lines, *framing: tuple[bytes, bytes]) -> None:
    headers = [tuple(line.split(b": ", 1)) for line in checked(lines).split(b"\r\n")]
    await send({"type": "http.response.start", "status": 200, "headers": [*headers, *framing]})


def checked(lines: Lines) -> bytes:
    """Join header lines, or raise ValueError if any could end early or begin another."""
    block = "\r\n".join(lines).encode("utf-8", "replace")
    line_ends = 2 * (len(lines) - 1)
    if len(block.translate(None, CONTROLS)) + line_ends != len(block):
        raise ValueError("a header has a control character in it")
    return block


def _write(send: Send, block: bytes, body: bytes | None) -> None:
    """Do what `send` does with an `http.response.start`, and write a whole body along.

    The connection's cycle is found by its `send`. Were it kept here, it would hold itself through its scope,
    and each request would wait for the garbage collector.
    """
    cycle: RequestResponseCycle = send.__self__  # type: ignore[attr-defined]
    if cycle.disconnected:
        return
    cycle.response_started = True
    cycle.waiting_for_100_continue = False
    cycle.chunked_encoding = body is None
    ours = b"".join([b"%b: %b\r\n" % header for header in cycle.default_headers])
    framing = b"transfer-encoding: chunked" if body is None else b"content-length: %d" % len(body)
    closing = b"" if cycle.keep_alive else b"\r\nconnection: close"
    head = b"HTTP/1.1 200 OK\r\n%b%b\r\n%b%b\r\n\r\n" % (ours, block, framing, closing)
    cycle.transport.write(head + body if body else head)


_EXTENSIONS: Final[dict[str, dict[object, object]]] = {WHOLE_HEADS: {"write": _write}}

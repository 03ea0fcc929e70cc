"""Answers with status 200, in as few writes as they can be: each is a call of the system."""

from apikeyrouter.interfaces.http.asgi import Scope, Send
from apikeyrouter.interfaces.http.own_protocol import extension

CONTROLS = bytes((*range(0x09), *range(0x0A, 0x20), 0x7F))
"""What no header may have in it: everything that uvicorn refuses too."""

Lines = list[str]
"""One header each, as `name: value`, names in small letters."""


async def send_whole(scope: Scope, send: Send, lines: Lines, body: bytes) -> None:
    """Send a whole answer, head and body in one write."""
    block, direct = checked(lines), extension(scope)
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
        self._direct = extension(scope)
        self._send = send

    def written(self, chunk: bytes) -> bool:
        """Send a chunk if that can be done at once; else it is to be written."""
        direct = self._direct
        if direct is None:
            return False
        if self._block:
            direct["begin"](self._send, self._block, chunk)
            self._block = b""
            return True
        sent: bool = direct["chunk"](self._send, chunk)
        return sent

    async def write(self, chunk: bytes) -> None:
        """Send a chunk; returns when the client takes more."""
        if self.written(chunk):
            return
        if self._block:
            await _start(self._send, self._block)
            self._block = b""
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def end(self, chunk: bytes = b"") -> None:
        """Send the last chunk, if there is one, and the end of the answer."""
        if self._block:
            await self.write(b"")
        await self._send({"type": "http.response.body", "body": chunk})


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

"""Talk to a scripted provider in plain bytes, and see exactly what comes back."""

import asyncio
import json

QUESTION = {"model": "m", "messages": [{"role": "user", "content": "Hello!"}]}
TIMEOUT_S = 5


def request(
    key: str = "sk-a", *, path: str = "/v1/chat/completions", headers: tuple[str, ...] = (), **fields
) -> bytes:
    """Write a request as it goes over the wire."""
    body = json.dumps({**QUESTION, **fields}).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        "host: loopback",
        f"authorization: Bearer {key}",
        f"content-length: {len(body)}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Talk:
    """One connection to a provider."""

    def __init__(self, provider) -> None:
        self.port = int(provider.url.rsplit(":", 1)[1])

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_):
        self.writer.close()

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> bytes:
        """Read status line and headers."""
        async with asyncio.timeout(TIMEOUT_S):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def rest(self) -> bytes:
        """Read until the provider closes."""
        async with asyncio.timeout(TIMEOUT_S):
            return await self.reader.read()

    async def answer(self) -> tuple[bytes, bytes]:
        """Read a whole answer of a known length."""
        head = await self.head()
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        async with asyncio.timeout(TIMEOUT_S):
            return head, await self.reader.readexactly(length)

    async def stream(self) -> bytes:
        """Read a chunked answer to its end."""
        await self.head()
        async with asyncio.timeout(TIMEOUT_S):
            return await self.reader.readuntil(b"0\r\n\r\n")


async def ask(provider, key: str = "sk-a", **fields) -> tuple[bytes, bytes]:
    """Make one whole call on a connection of its own."""
    async with Talk(provider) as talk:
        talk.send(request(key, **fields))
        return await talk.answer()

"""The lean pass-through: plain ASGI and aiohttp, nothing between them."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import yarl

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

UPSTREAM = yarl.URL(os.environ["BENCH_UPSTREAM_URL"] + "/v1/chat/completions")
HEADERS = {
    "content-type": "application/json",
    "authorization": "Bearer " + os.environ["BENCH_PROVIDER_KEY"],
}
session: aiohttp.ClientSession


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Pass each request on, and its answer back as it comes."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    body = await _body(receive)
    async with session.post(UPSTREAM, data=body, headers=HEADERS) as answer:
        head = [(b"content-type", answer.headers["content-type"].encode())]
        if length := answer.headers.get("content-length"):
            head.append((b"content-length", length.encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": head})
        async for chunk in answer.content.iter_any():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _lifespan(receive: Receive, send: Send) -> None:
    global session  # noqa: PLW0603 - one session for the process, as lean as it gets
    await receive()
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await session.close()
    await send({"type": "lifespan.shutdown.complete"})

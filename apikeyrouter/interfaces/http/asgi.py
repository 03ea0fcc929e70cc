"""The little of ASGI that plain routes need: read a body, send an answer."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.interfaces.http.headers import Headers

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class BodyTooLargeError(InvalidRequestError):
    """The body exceeds the limit of this installation."""

    http_status = 413
    code = "request_too_large"


class ClientGoneError(Exception):
    """The client closed its connection before its request had arrived."""


def header(scope: Scope, name: bytes) -> bytes | None:
    """Return a request header, the first of its name."""
    for candidate, value in scope["headers"]:
        if candidate == name:
            return bytes(value)
    return None


async def read_body(scope: Scope, receive: Receive, limit_bytes: int) -> bytes:
    """Return the whole body, or raise `BodyTooLargeError` as soon as it is known to be too large."""
    declared = header(scope, b"content-length")
    if declared is not None and declared.isdigit() and int(declared) > limit_bytes:
        raise _too_large(limit_bytes)
    message = await receive()
    if not message.get("more_body") and message["type"] == "http.request":
        return bytes(message.get("body", b""))
    parts, size = [], 0
    while message["type"] == "http.request":
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit_bytes:
            raise _too_large(limit_bytes)
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()
    raise ClientGoneError


async def send_answer(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send a whole answer."""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_page(send: Send, media_type: bytes, body: bytes, status: int = 200) -> None:
    """Send a whole answer of a media type."""
    headers = [(b"content-type", media_type), (b"content-length", b"%d" % len(body))]
    await send_answer(send, status, headers, body)


async def send_json(send: Send, told: object, status: int = 200) -> None:
    """Send a whole answer in JSON."""
    await send_page(send, b"application/json", msgspec.json.encode(told), status)


def _too_large(limit_bytes: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"the request body is larger than the limit of {limit_bytes} bytes")

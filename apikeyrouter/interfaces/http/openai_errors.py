"""Errors in OpenAI's dialect: the body that SDKs parse and the headers that steer their retries."""

from math import ceil

import msgspec

from apikeyrouter.domain.models.system_error import (
    BudgetExceededError,
    ProviderError,
    SystemError,  # noqa: A004 - the published name
)
from apikeyrouter.interfaces.http.asgi import Send, send_answer
from apikeyrouter.interfaces.http.headers import JSON, Headers

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    409: "conflict_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}
GONE_QUOTA = "insufficient_quota"


def error_body(message: str, *, status: int, code: str, param: str | None = None) -> bytes:
    """Return `{"error": {"message", "type", "param", "code"}}`."""
    kind = code if code == GONE_QUOTA else TYPES.get(status, "server_error")
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": code}})


def body_of(error: SystemError) -> bytes:
    """Return the provider's own error where the caller is at fault, else ours."""
    if isinstance(error, ProviderError) and error.body is not None:
        return error.body
    return error_body(error.message, status=error.http_status, code=error.code, param=error.param)


async def send_error(send: Send, error: SystemError) -> None:
    """Answer with an error."""
    body = body_of(error)
    await send_answer(send, error.http_status, headers_of(error, body), body)


def headers_of(error: SystemError, body: bytes) -> Headers:
    """Return the headers that go with an error."""
    headers = [JSON, (b"content-length", b"%d" % len(body))]
    if error.request_id is not None:
        headers += [
            (b"x-request-id", error.request_id.encode()),
            (b"x-akr-request-id", error.request_id.encode()),
        ]
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % ceil(error.retry_after)))
        headers.append((b"retry-after-ms", b"%d" % ceil(error.retry_after * 1000)))
    if isinstance(error, BudgetExceededError):
        headers += _of_budget(error)
    if not error.retryable:
        headers.append((b"x-should-retry", b"false"))
    return headers


def _of_budget(error: BudgetExceededError) -> Headers:
    headers = [
        (b"x-akr-budget", error.budget_id.encode()),
        (b"x-akr-budget-limit-usd", f"{error.limit:f}".encode()),
        (b"x-akr-budget-remaining-usd", f"{error.remaining:f}".encode()),
    ]
    if error.resets_at is not None:
        headers.append((b"x-akr-budget-resets-at", error.resets_at.isoformat().encode()))
    return headers


def error_event(error: SystemError) -> bytes:
    """Return an error as a server-sent event, for a stream that broke midway."""
    return b"data: " + body_of(error).replace(b"\n", b" ") + b"\n\n"

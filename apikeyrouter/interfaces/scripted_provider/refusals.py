"""Refusals in the body and with the headers of OpenAI's API, and what each status says by default."""

from typing import NamedTuple

import msgspec

from apikeyrouter.interfaces.scripted_provider.limits import Headers, Overrun, retry_headers


class Refusal(NamedTuple):
    """An answer that is an error."""

    status: int
    error_type: str
    code: str | None
    message: str
    param: str | None = None
    headers: Headers = ()

    @property
    def body(self) -> bytes:
        """The error as JSON."""
        return error_body(self.error_type, self.code, self.message, self.param)


class RefusedError(Exception):
    """Raised where a call turns out to be refused."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class StatusText(NamedTuple):
    """What an error of some status says when the script adds nothing."""

    error_type: str
    code: str | None
    message: str


BY_STATUS: dict[int, StatusText] = {
    400: StatusText("invalid_request_error", None, "The request is not valid."),
    401: StatusText("invalid_request_error", "invalid_api_key", "The API key is not accepted."),
    402: StatusText("insufficient_quota", "insufficient_quota", "The account has no balance left."),
    403: StatusText("permission_error", "permission_denied", "The API key may not do this."),
    404: StatusText("invalid_request_error", "model_not_found", "There is no such model."),
    408: StatusText("server_error", None, "The server waited too long."),
    422: StatusText("invalid_request_error", None, "The request cannot be processed."),
    429: StatusText("requests", "rate_limit_exceeded", "Too many requests for this key."),
    500: StatusText("server_error", None, "The server failed while it worked on the request."),
    502: StatusText("server_error", None, "The server got a bad answer from behind."),
    503: StatusText("server_error", None, "The server is overloaded or not ready."),
    504: StatusText("server_error", None, "The server waited too long for what is behind it."),
    529: StatusText("overloaded_error", "overloaded", "The server is overloaded."),
}


def text_for(status: int) -> StatusText:
    """Return what a status says, also one that the table does not have."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return BY_STATUS.get(status, StatusText(kind, None, f"Scripted to answer {status}."))


def error_body(error_type: str, code: str | None, message: str, param: str | None = None) -> bytes:
    """Encode an error as OpenAI does."""
    return msgspec.json.encode(
        {"error": {"message": message, "type": error_type, "param": param, "code": code}}
    )


def unknown_key() -> Refusal:
    """Refuse a key that the script does not list; the message never repeats it."""
    error_type, code, _ = BY_STATUS[401]
    return Refusal(401, error_type, code, "No such API key is known here.")


def bad_request(message: str, param: str | None = None) -> Refusal:
    """Refuse a body that cannot be understood."""
    return Refusal(400, "invalid_request_error", None, message, param)


def unknown_model(model: str) -> Refusal:
    """Refuse a model that the script does not list."""
    return Refusal(
        404, "invalid_request_error", "model_not_found", f"The model {model!r} is not served here.", "model"
    )


def unknown_route(method: str, path: str) -> Refusal:
    """Refuse a route that does not exist."""
    return Refusal(404, "invalid_request_error", "unknown_url", f"There is no {method} {path} here.")


def too_large() -> Refusal:
    """Refuse a body beyond what is read."""
    return Refusal(413, "invalid_request_error", None, "The body is too large.")


def over_limit(overrun: Overrun, limit_headers: Headers) -> Refusal:
    """Refuse a call that overruns a rate limit or the day's quota."""
    if overrun.dimension == "day":
        message = f"The quota of {overrun.limit} requests a day is used up."
        return Refusal(429, "insufficient_quota", "insufficient_quota", message, headers=limit_headers)
    message = f"The limit of {overrun.limit} {overrun.dimension} a minute is reached."
    if overrun.wait_us is None:
        message = f"The request alone is larger than the limit of {overrun.limit} tokens a minute."
    headers = [*retry_headers(overrun.wait_us), *limit_headers]
    return Refusal(429, overrun.dimension, "rate_limit_exceeded", message, headers=headers)

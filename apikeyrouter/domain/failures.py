"""Everything that routing knows of upstream failures: one table, each entry with its reason.

The class of a failure decides who may be asked next and what becomes of the key. Sources: the error
pages of OpenAI (platform.openai.com/docs/guides/error-codes) and RFC 9110 section 15.
"""

from enum import StrEnum
from typing import NamedTuple

import msgspec

SECOND_US = 1_000_000
LONGEST_WAIT_US = 24 * 3600 * SECOND_US


class FailureClass(StrEnum):
    """What went wrong, as far as routing must tell it apart."""

    InvalidRequest = "invalid_request"
    ModelNotFound = "model_not_found"
    KeyRejected = "key_rejected"
    PermissionDenied = "permission_denied"
    QuotaExhausted = "quota_exhausted"
    RateLimited = "rate_limited"
    Overloaded = "overloaded"
    ServerError = "server_error"
    ConnectFailed = "connect_failed"
    FirstByteTimeout = "first_byte_timeout"
    IdleTimeout = "idle_timeout"
    TotalTimeout = "total_timeout"
    BrokenAnswer = "broken_answer"
    MalformedAnswer = "malformed_answer"


class KeyEffect(StrEnum):
    """What a failure does to the key that was used."""

    Nothing = "nothing"
    Strike = "strike"
    Throttle = "throttle"
    Exhaust = "exhaust"
    Invalidate = "invalidate"


class Handling(NamedTuple):
    """One row of the table. `status` is what the client gets if this failure ends the request."""

    another_key: bool
    effect: KeyEffect
    default_wait_us: int
    status: int
    code: str
    reason: str


HANDLING: dict[FailureClass, Handling] = {
    FailureClass.InvalidRequest: Handling(
        False,
        KeyEffect.Nothing,
        0,
        400,
        "invalid_request",
        "the request is at fault: every key would refuse it",
    ),
    FailureClass.ModelNotFound: Handling(
        False,
        KeyEffect.Nothing,
        0,
        404,
        "model_not_found",
        "the provider does not serve this model to anybody",
    ),
    FailureClass.KeyRejected: Handling(
        True,
        KeyEffect.Invalidate,
        0,
        502,
        "upstream_authentication",
        "a rejected key stays rejected until rotated",
    ),
    FailureClass.PermissionDenied: Handling(
        True,
        KeyEffect.Strike,
        0,
        403,
        "upstream_permission",
        "another key may be allowed what this one is not",
    ),
    FailureClass.QuotaExhausted: Handling(
        True,
        KeyEffect.Exhaust,
        3600 * SECOND_US,
        429,
        "insufficient_quota",
        "money or quota is gone: waiting seconds is vain",
    ),
    FailureClass.RateLimited: Handling(
        True,
        KeyEffect.Throttle,
        5 * SECOND_US,
        429,
        "rate_limit_exceeded",
        "the key is healthy but must rest",
    ),
    FailureClass.Overloaded: Handling(
        True,
        KeyEffect.Strike,
        0,
        503,
        "upstream_overloaded",
        "the provider sheds load: another key may land elsewhere",
    ),
    FailureClass.ServerError: Handling(
        True,
        KeyEffect.Strike,
        0,
        502,
        "upstream_error",
        "a server error says little about the key; repeated ones do",
    ),
    FailureClass.ConnectFailed: Handling(
        True, KeyEffect.Strike, 0, 502, "upstream_unreachable", "nothing was sent, so asking again is safe"
    ),
    FailureClass.FirstByteTimeout: Handling(
        True,
        KeyEffect.Strike,
        0,
        504,
        "upstream_timeout",
        "silence: no text reached the client, another key may answer",
    ),
    FailureClass.IdleTimeout: Handling(
        True, KeyEffect.Strike, 0, 504, "upstream_timeout", "the answer stalled midway"
    ),
    FailureClass.TotalTimeout: Handling(
        False,
        KeyEffect.Strike,
        0,
        504,
        "upstream_timeout",
        "the client's time is used up: no other key can help",
    ),
    FailureClass.BrokenAnswer: Handling(
        True, KeyEffect.Strike, 0, 502, "upstream_broken", "the connection died under the answer"
    ),
    FailureClass.MalformedAnswer: Handling(
        True,
        KeyEffect.Strike,
        0,
        502,
        "upstream_malformed",
        "an answer that is none, such as a proxy's HTML page",
    ),
}

BY_STATUS: dict[int, FailureClass] = {
    400: FailureClass.InvalidRequest,
    401: FailureClass.KeyRejected,
    402: FailureClass.QuotaExhausted,
    403: FailureClass.PermissionDenied,
    404: FailureClass.ModelNotFound,
    408: FailureClass.ServerError,  # the provider gave up waiting: its trouble, not the request's
    409: FailureClass.ServerError,  # OpenAI: another request was updating the resource; asking again helps
    413: FailureClass.InvalidRequest,
    415: FailureClass.InvalidRequest,
    422: FailureClass.InvalidRequest,
    429: FailureClass.RateLimited,
    503: FailureClass.Overloaded,
    529: FailureClass.Overloaded,  # Anthropic's overloaded_error
}

BY_CODE: dict[str, FailureClass] = {
    "insufficient_quota": FailureClass.QuotaExhausted,  # OpenAI answers 429, but no wait of seconds helps
    "billing_hard_limit_reached": FailureClass.QuotaExhausted,
    "invalid_api_key": FailureClass.KeyRejected,
    "account_deactivated": FailureClass.KeyRejected,
    "model_not_found": FailureClass.ModelNotFound,
    # The next ones name what comes without a status of its own, inside a 200 or a stream.
    "rate_limit_exceeded": FailureClass.RateLimited,
    "overloaded_error": FailureClass.Overloaded,
    "context_length_exceeded": FailureClass.InvalidRequest,
}


class Failure(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A classified failure. `body` is the provider's own error, kept only where the client is at fault."""

    failure_class: FailureClass
    status: int | None = None
    code: str | None = None
    retry_after_us: int | None = None
    sent: bool = True
    body: bytes | None = None

    @property
    def handling(self) -> Handling:
        """The row of the table for this failure."""
        return HANDLING[self.failure_class]

    @property
    def wait_us(self) -> int:
        """How long the key must rest: what the provider said, bounded, or the class's default.

        Gone quota is not back in the seconds that some providers name beside it.
        """
        if self.retry_after_us is None:
            return self.handling.default_wait_us
        said_us = min(max(self.retry_after_us, 0), LONGEST_WAIT_US)
        gone = self.failure_class is FailureClass.QuotaExhausted
        return max(said_us, self.handling.default_wait_us) if gone else said_us


class AttemptFailedError(Exception):
    """Raised by provider adapters: one upstream call did not succeed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.failure_class.value)
        self.failure = failure


def classify(status: int, code: str | None) -> FailureClass:
    """Name the class of an upstream answer that is not a success; the body's code outranks the status."""
    if code is not None and code in BY_CODE:
        return BY_CODE[code]
    by_status = BY_STATUS.get(status)
    if by_status is not None:
        return by_status
    return FailureClass.InvalidRequest if 400 <= status < 500 else FailureClass.ServerError

"""The words in which upstream failures are told: what went wrong, and what is to be done about it."""

from enum import StrEnum

import msgspec

SECOND_US = 1_000_000
LONGEST_WAIT_US = 24 * 3600 * SECOND_US


class FailureClass(StrEnum):
    """What went wrong, as far as routing must tell it apart."""

    InvalidRequest = "invalid_request"
    ContentRefused = "content_refused"
    ModelNotFound = "model_not_found"
    ModelNotAllowed = "model_not_allowed"
    KeyRejected = "key_rejected"
    PermissionDenied = "permission_denied"
    RegionRefused = "region_refused"
    QuotaExhausted = "quota_exhausted"
    RateLimited = "rate_limited"
    TooLargeForKey = "too_large_for_key"
    Conflict = "conflict"
    Overloaded = "overloaded"
    ServerError = "server_error"
    ConnectFailed = "connect_failed"
    FirstByteTimeout = "first_byte_timeout"
    IdleTimeout = "idle_timeout"
    TotalTimeout = "total_timeout"
    BrokenAnswer = "broken_answer"
    MalformedAnswer = "malformed_answer"


class NextTry(StrEnum):
    """Who is asked next, the first choice named.

    `AnotherProvider` falls back on another key of the same one. `SameKey` does not rule the key out.
    """

    Nobody = "nobody"
    SameKey = "same_key"
    AnotherKey = "another_key"
    AnotherProvider = "another_provider"


class KeyEffect(StrEnum):
    """What a failure does to the key that was used. A denied model only concerns requests for that model."""

    Nothing = "nothing"
    DenyModel = "deny_model"
    Strike = "strike"
    Throttle = "throttle"
    Exhaust = "exhaust"
    Invalidate = "invalidate"


class Handling(msgspec.Struct, frozen=True, kw_only=True):
    """What is done about one class of failure, and why.

    `status` and `code` are what the client gets if this failure ends the request; with `quotes_provider`
    it gets the provider's own words instead, where there are any.
    """

    next_try: NextTry
    effect: KeyEffect
    blames_provider: bool
    status: int
    code: str
    reason: str
    default_wait_us: int = 0
    quotes_provider: bool = False

    @property
    def another_key(self) -> bool:
        """True if somebody may still be asked."""
        return self.next_try is not NextTry.Nobody


class Dialect(StrEnum):
    """In whose shape an error is written. `Generic` is what many have copied from each other."""

    Generic = "generic"
    OpenAI = "openai"
    Azure = "azure"
    Anthropic = "anthropic"
    Gemini = "gemini"
    Xai = "xai"


class Sign(msgspec.Struct, frozen=True):
    """One row on what upstreams say: by what it is recognised, which class it means, and why.

    `kind` is the error's type; it counts beside the row's own status, or where there is none. `code` counts
    under any status unless the row names one. `code_part` and `opening` are looked for only inside a code,
    and at the very beginning of a message, for providers that tell it nowhere else.
    """

    failure_class: FailureClass
    reason: str
    status: int | None = None
    kind: str | None = None
    code: str | None = None
    code_part: str | None = None
    opening: str | None = None


class Complaint(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What an upstream's error says, in whichever shape; `message` is only compared, never kept."""

    dialect: Dialect = Dialect.Generic
    status: int | None = None
    kind: str | None = None
    code: str | None = None
    message: str = ""
    wait_us: int | None = None

    def __repr__(self) -> str:
        """Describe the error without its message, which may repeat what was asked."""
        return f"Complaint({self.dialect}, status={self.status}, kind={self.kind}, code={self.code})"

"""The error tree: each error carries a category, a message for people, and whether a retry helps."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum


class ErrorCategory(StrEnum):
    """What kind of trouble it is, for callers that branch on it."""

    InvalidRequest = "invalid_request"
    Configuration = "configuration"
    NotFound = "not_found"
    Conflict = "conflict"
    NoEligibleKeys = "no_eligible_keys"
    Authentication = "authentication"
    RateLimit = "rate_limit"
    QuotaExhausted = "quota_exhausted"
    BudgetExceeded = "budget_exceeded"
    Provider = "provider"
    Timeout = "timeout"
    Network = "network"
    AuditUnavailable = "audit_unavailable"


class SystemError(Exception):  # noqa: A001 - the published name
    """Everything that this package raises on purpose.

    `retry_after` is in seconds. The message never holds a secret or an unredacted upstream text.
    """

    category = ErrorCategory.Provider
    retryable = False
    code = "error"
    http_status = 500

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        code: str | None = None,
        param: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        self.code = code or type(self).code
        self.param = param
        self.request_id = request_id


class InvalidRequestError(SystemError):
    """The caller's input cannot be served as it is."""

    category = ErrorCategory.InvalidRequest
    code = "invalid_request"
    http_status = 400


class ConfigurationError(SystemError):
    """A setting is unknown or unusable; the message names it."""

    category = ErrorCategory.Configuration
    code = "invalid_configuration"


class NotFoundError(SystemError):
    """No such key, provider, model or request."""

    category = ErrorCategory.NotFound
    code = "not_found"
    http_status = 404


class ConflictError(SystemError):
    """It exists already, or the state it is in does not allow this."""

    category = ErrorCategory.Conflict
    code = "conflict"
    http_status = 409


class NoEligibleKeysError(SystemError):
    """No key may be chosen now; `excluded` counts the keys by the rule that refused them."""

    category = ErrorCategory.NoEligibleKeys
    code = "no_eligible_keys"
    http_status = 503
    retryable = True

    def __init__(self, message: str, *, excluded: dict[str, int] | None = None, **details: object) -> None:
        super().__init__(message, **details)  # type: ignore[arg-type]  # the base names and checks them
        self.excluded = excluded or {}


class BudgetExceededError(SystemError):
    """The request does not fit into a hard budget. Amounts are exact US dollars.

    `resets_at` is when it would fit if nothing else was spent; None where time alone gives nothing back.
    """

    category = ErrorCategory.BudgetExceeded
    code = "insufficient_quota"
    http_status = 429

    def __init__(
        self,
        message: str,
        *,
        budget_id: str,
        limit: Decimal,
        remaining: Decimal,
        needed: Decimal,
        resets_at: datetime | None,
        **details: object,
    ) -> None:
        super().__init__(message, **details)  # type: ignore[arg-type]  # the base names and checks them
        self.budget_id = budget_id
        self.limit = limit
        self.remaining = remaining
        self.needed = needed
        self.resets_at = resets_at


class PriceUnknownError(SystemError):
    """A hard budget would have to pay for a model whose price is not known."""

    category = ErrorCategory.BudgetExceeded
    code = "price_unknown"
    http_status = 400


class ProviderError(SystemError):
    """The upstream refused or broke. `failure` is the class; `body` the provider's error, redacted."""

    code = "upstream_error"
    http_status = 502

    def __init__(
        self, message: str, *, failure: str, status: int, body: bytes | None = None, **details: object
    ) -> None:
        super().__init__(message, **details)  # type: ignore[arg-type]  # the base names and checks them
        self.failure = failure
        self.http_status = status
        self.body = body


class LogUnavailableError(SystemError):
    """The audit log cannot be written, so no upstream call is made."""

    category = ErrorCategory.AuditUnavailable
    code = "audit_unavailable"
    http_status = 503
    retryable = True


class ShuttingDownError(SystemError):
    """The router closes: who still waited for a key gets none here."""

    category = ErrorCategory.NoEligibleKeys
    code = "shutting_down"
    http_status = 503
    retryable = True


class LogLockedError(SystemError):
    """Another process writes this log; one SQLite file has one writer."""

    category = ErrorCategory.Conflict
    code = "log_locked"
    http_status = 409


class KeyMaterialMissingError(SystemError):
    """The vault holds no material for a key that the log knows."""

    category = ErrorCategory.Configuration
    code = "key_material_missing"

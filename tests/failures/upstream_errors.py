"""An error body for every row of the table of signs, in the shapes that the providers write."""

import json
from typing import NamedTuple

from apikeyrouter.domain.failure_tables import SIGNS
from apikeyrouter.domain.failures import Dialect, Sign


class Example(NamedTuple):
    """What an upstream answers."""

    status: int
    body: object

    @property
    def data(self) -> bytes:
        return json.dumps(self.body).encode()


def openai(status, code=None, kind="invalid_request_error", message="No."):
    return Example(status, {"error": {"message": message, "type": kind, "param": None, "code": code}})


def azure(status, code, message="No.", **more):
    return Example(status, {"error": {"code": code, "message": message} | more})


def anthropic(status, kind, message="No."):
    error = {"type": kind, "message": message}
    return Example(status, {"type": "error", "error": error, "request_id": "req_1"})


def gemini(code, status, message="No.", details=(), *, http_status=None):
    error = {"code": code, "message": message, "status": status, "details": list(details)}
    return Example(http_status or code, [{"error": error}])


def reason(name):
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": name, "domain": "googleapis.com"}


def quota(*names):
    violations = [{"quotaMetric": "generate_content_requests", "quotaId": name} for name in names]
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": violations}


def retry(delay):
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


def in_stream(name):
    """Write one of Google's errors where no status of HTTP says anything."""
    return Example(200, {"error": {"status": name, "message": "No."}})


BUSY = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
DAILY = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"

BARE = [
    400,
    401,
    402,
    403,
    404,
    407,
    408,
    409,
    410,
    413,
    415,
    422,
    425,
    429,
    451,
    498,
    500,
    502,
    503,
    504,
    529,
]
GENERIC = {
    **{f"status={status}": Example(status, {"message": "No."}) for status in BARE},
    "code=insufficient_quota": openai(429, "insufficient_quota", "insufficient_quota"),
    "status=429 kind=insufficient_quota": openai(429, None, "insufficient_quota"),
    "code=invalid_api_key": openai(403, "invalid_api_key"),
    "code=model_not_found": openai(404, "model_not_found"),
    "status=403 code=model_not_found": openai(403, "model_not_found"),
    "code=rate_limit_exceeded": openai(429, "rate_limit_exceeded", "requests"),
    "status=413 code=rate_limit_exceeded": openai(413, "rate_limit_exceeded", "tokens"),
    "code=context_length_exceeded": openai(500, "context_length_exceeded"),
    "code=content_filter": azure(400, "content_filter", innererror={"code": "ResponsibleAIPolicyViolation"}),
    "code=server_error": openai(200, "server_error"),
    "kind=invalid_request_error": openai(200, None, "invalid_request_error"),
    "kind=authentication_error": anthropic(200, "authentication_error"),
    "kind=permission_error": anthropic(200, "permission_error"),
    "kind=not_found_error": anthropic(200, "not_found_error"),
    "kind=insufficient_quota": openai(200, None, "insufficient_quota"),
    "kind=rate_limit_error": anthropic(200, "rate_limit_error"),
    "kind=rate_limit_exceeded": openai(200, None, "rate_limit_exceeded"),
    "kind=overloaded_error": anthropic(200, "overloaded_error"),
    "kind=server_error": openai(200, None, "server_error"),
}
OF_OPENAI = {
    "code=billing_hard_limit_reached": openai(400, "billing_hard_limit_reached"),
    "code=billing_not_active": openai(429, "billing_not_active", "billing_not_active"),
    "code=account_deactivated": openai(401, "account_deactivated"),
    "code=unsupported_country_region_territory": openai(
        403, "unsupported_country_region_territory", "request_forbidden"
    ),
    "code=content_policy_violation": openai(400, "content_policy_violation"),
    "code=invalid_prompt": openai(400, "invalid_prompt"),
    "code=server_is_overloaded": openai(200, "server_is_overloaded", None),
    "code=slow_down": openai(200, "slow_down", None),
    "kind=requests": openai(200, None, "requests"),
    "kind=tokens": openai(200, None, "tokens"),
    "code=model_decommissioned": openai(400, "model_decommissioned"),
    "code=model_permission_blocked_org": openai(403, "model_permission_blocked_org", "permissions_error"),
    "code=model_permission_blocked_project": openai(
        403, "model_permission_blocked_project", "permissions_error"
    ),
    "code=model_terms_required": openai(400, "model_terms_required"),
    "code=organization_restricted": openai(400, "organization_restricted"),
}
OF_AZURE = {
    "code=DeploymentNotFound": azure(404, "DeploymentNotFound", "The API deployment does not exist."),
    "code=OperationNotSupported": azure(400, "OperationNotSupported"),
    "code=PermissionDenied": azure(401, "PermissionDenied", "Principal does not have access."),
    "code=AuthenticationTypeDisabled": azure(403, "AuthenticationTypeDisabled"),
    "code=RateLimitReached": azure(429, "RateLimitReached"),
    "code=NoCapacity": azure(429, "NoCapacity"),
    "code=ResponsibleAIPolicyViolation": azure(400, "ResponsibleAIPolicyViolation"),
    "status=403 opening=Out of call volume quota": azure(
        403, "403", "Out of call volume quota. Wait 2 days."
    ),
}
OF_ANTHROPIC = {
    "kind=billing_error": anthropic(200, "billing_error"),
    "kind=request_too_large": anthropic(200, "request_too_large"),
    "kind=api_error": anthropic(200, "api_error"),
    "kind=timeout_error": anthropic(200, "timeout_error"),
    "status=400 opening=Your credit balance is too low": anthropic(
        400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API."
    ),
    "status=400 opening=You have reached your specified API usage": anthropic(
        400, "invalid_request_error", "You have reached your specified API usage limits."
    ),
    "status=400 opening=This organization has been disabled": anthropic(
        400, "invalid_request_error", "This organization has been disabled."
    ),
}
OF_GEMINI = {
    "code=API_KEY_INVALID": gemini(
        400, "INVALID_ARGUMENT", "API key not valid. Pass a valid one.", [reason("API_KEY_INVALID")]
    ),
    "status=400 opening=API key not valid": gemini(
        400, "INVALID_ARGUMENT", "API key not valid. Pass a valid one."
    ),
    "status=403 opening=Your API key was reported as leaked": gemini(
        403, "PERMISSION_DENIED", "Your API key was reported as leaked. Use another."
    ),
    "status=403 opening=Your project has been denied access": gemini(
        403, "PERMISSION_DENIED", "Your project has been denied access. Contact support."
    ),
    "code=CONSUMER_SUSPENDED": gemini(403, "PERMISSION_DENIED", details=[reason("CONSUMER_SUSPENDED")]),
    "code=BILLING_DISABLED": gemini(403, "PERMISSION_DENIED", details=[reason("BILLING_DISABLED")]),
    "status=429 part=PerDay": gemini(
        429, "RESOURCE_EXHAUSTED", details=[quota(BUSY, DAILY), retry("12s"), reason("RATE_LIMIT_EXCEEDED")]
    ),
    "status=400 opening=User location is not supported": gemini(
        400, "FAILED_PRECONDITION", "User location is not supported for the API use."
    ),
    "status=400 kind=FAILED_PRECONDITION": gemini(400, "FAILED_PRECONDITION", "Enable billing."),
    **{
        f"kind={name}": in_stream(name)
        for name in (
            "INVALID_ARGUMENT",
            "UNAUTHENTICATED",
            "PERMISSION_DENIED",
            "NOT_FOUND",
            "RESOURCE_EXHAUSTED",
            "INTERNAL",
            "UNAVAILABLE",
            "DEADLINE_EXCEEDED",
        )
    },
}
OF_XAI = {
    "status=400 opening=Incorrect API key provided": Example(
        400, {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: x***y."}
    ),
}
EXAMPLES: dict[Dialect, dict[str, Example]] = {
    Dialect.Generic: GENERIC,
    Dialect.OpenAI: OF_OPENAI,
    Dialect.Azure: OF_AZURE,
    Dialect.Anthropic: OF_ANTHROPIC,
    Dialect.Gemini: OF_GEMINI,
    Dialect.Xai: OF_XAI,
}


def named(sign: Sign) -> str:
    """Name a row by what it is recognised by."""
    told = {
        "status": sign.status,
        "kind": sign.kind,
        "code": sign.code,
        "part": sign.code_part,
        "opening": sign.opening,
    }
    return " ".join(f"{name}={value}" for name, value in told.items() if value is not None)


ROWS = [(dialect, sign) for dialect, signs in SIGNS.items() for sign in signs]

"""Everything that routing knows of upstream failures, each entry with its reason: two tables.

`HANDLING` says what is done about a class of failure; `SIGNS` says by which status, type, code or opening
words of a message a class is recognised, provider by provider. `PAGES` names where the providers tell it.
"""

from apikeyrouter.domain.failure_classes import (
    SECOND_US,
    Dialect,
    FailureClass,
    Handling,
    KeyEffect,
    NextTry,
    Sign,
)

HANDLING: dict[FailureClass, Handling] = {
    FailureClass.InvalidRequest: Handling(
        next_try=NextTry.Nobody,
        effect=KeyEffect.Nothing,
        blames_provider=False,
        status=400,
        code="invalid_request",
        quotes_provider=True,
        reason="the request is at fault: every key would refuse it",
    ),
    FailureClass.ContentRefused: Handling(
        next_try=NextTry.Nobody,
        effect=KeyEffect.Nothing,
        blames_provider=False,
        status=400,
        code="content_filter",
        quotes_provider=True,
        reason="a provider's filter refused the content: asking around would be evading it",
    ),
    FailureClass.ModelNotFound: Handling(
        next_try=NextTry.AnotherProvider,
        effect=KeyEffect.DenyModel,
        blames_provider=False,
        status=404,
        code="model_not_found",
        quotes_provider=True,
        reason="this provider has not the model, or not for this key: others may",
    ),
    FailureClass.ModelNotAllowed: Handling(
        next_try=NextTry.AnotherKey,
        effect=KeyEffect.DenyModel,
        blames_provider=False,
        status=403,
        code="upstream_model_permission",
        reason="this key may not use this model; it is sound for others, and other keys may be for this one",
    ),
    FailureClass.KeyRejected: Handling(
        next_try=NextTry.AnotherKey,
        effect=KeyEffect.Invalidate,
        blames_provider=False,
        status=502,
        code="upstream_authentication",
        reason="a rejected key stays rejected until rotated",
    ),
    FailureClass.PermissionDenied: Handling(
        next_try=NextTry.AnotherKey,
        effect=KeyEffect.Strike,
        blames_provider=False,
        status=403,
        code="upstream_permission",
        reason="another key may be allowed what this one is not",
    ),
    FailureClass.RegionRefused: Handling(
        next_try=NextTry.AnotherProvider,
        effect=KeyEffect.Nothing,
        blames_provider=False,
        status=403,
        code="upstream_region",
        reason="the provider does not serve the place that this router runs in, whatever the key",
    ),
    FailureClass.QuotaExhausted: Handling(
        next_try=NextTry.AnotherKey,
        effect=KeyEffect.Exhaust,
        blames_provider=False,
        status=429,
        code="insufficient_quota",
        default_wait_us=3600 * SECOND_US,
        reason="money or quota is gone: waiting seconds is vain",
    ),
    FailureClass.RateLimited: Handling(
        next_try=NextTry.AnotherKey,
        effect=KeyEffect.Throttle,
        blames_provider=False,
        status=429,
        code="rate_limit_exceeded",
        default_wait_us=5 * SECOND_US,
        reason="the key is healthy but must rest",
    ),
    FailureClass.TooLargeForKey: Handling(
        next_try=NextTry.AnotherKey,
        effect=KeyEffect.Nothing,
        blames_provider=False,
        status=413,
        code="request_too_large",
        reason="the request alone is more than this key may send in a minute: it fits smaller ones as before",
    ),
    FailureClass.Conflict: Handling(
        next_try=NextTry.SameKey,
        effect=KeyEffect.Nothing,
        blames_provider=False,
        status=503,
        code="upstream_conflict",
        reason="two requests met: the same one again succeeds, and nobody is to blame",
    ),
    FailureClass.Overloaded: Handling(
        next_try=NextTry.AnotherProvider,
        effect=KeyEffect.Strike,
        blames_provider=True,
        status=503,
        code="upstream_overloaded",
        reason="the provider sheds load: another one has not the same herd, another key may land elsewhere",
    ),
    FailureClass.ServerError: Handling(
        next_try=NextTry.AnotherProvider,
        effect=KeyEffect.Strike,
        blames_provider=True,
        status=502,
        code="upstream_error",
        reason="a server error says little about the key; repeated ones do",
    ),
    FailureClass.ConnectFailed: Handling(
        next_try=NextTry.AnotherProvider,
        effect=KeyEffect.Strike,
        blames_provider=True,
        status=502,
        code="upstream_unreachable",
        reason="nothing was sent, so asking again is safe",
    ),
    FailureClass.FirstByteTimeout: Handling(
        next_try=NextTry.AnotherProvider,
        effect=KeyEffect.Strike,
        blames_provider=True,
        status=504,
        code="upstream_timeout",
        reason="silence: no text reached the client, another key may answer",
    ),
    FailureClass.IdleTimeout: Handling(
        next_try=NextTry.AnotherProvider,
        effect=KeyEffect.Strike,
        blames_provider=True,
        status=504,
        code="upstream_timeout",
        reason="the answer stalled midway",
    ),
    FailureClass.TotalTimeout: Handling(
        next_try=NextTry.Nobody,
        effect=KeyEffect.Strike,
        blames_provider=True,
        status=504,
        code="upstream_timeout",
        reason="the client's time is used up: no other key can help",
    ),
    FailureClass.BrokenAnswer: Handling(
        next_try=NextTry.AnotherProvider,
        effect=KeyEffect.Strike,
        blames_provider=True,
        status=502,
        code="upstream_broken",
        reason="the connection died under the answer",
    ),
    FailureClass.MalformedAnswer: Handling(
        next_try=NextTry.AnotherProvider,
        effect=KeyEffect.Strike,
        blames_provider=True,
        status=502,
        code="upstream_malformed",
        reason="an answer that is none, such as a proxy's HTML page",
    ),
}

PAGES: dict[Dialect, str] = {
    Dialect.Generic: "RFC 9110 section 15; RFC 8470 (425); RFC 7725 (451)",
    Dialect.OpenAI: "platform.openai.com/docs/guides/error-codes; console.groq.com/docs/errors",
    Dialect.Azure: "learn.microsoft.com/azure/ai-foundry/openai: quotas and limits, content filtering",
    Dialect.Anthropic: "docs.anthropic.com/en/api/errors",
    Dialect.Gemini: "ai.google.dev/gemini-api/docs/troubleshooting; google.rpc error_details.proto",
    Dialect.Xai: "docs.x.ai/docs/key-information/debugging",
}

DAILY_QUOTA = "PerDay"
"""Part of the names of Google's daily quotas; of several that are used up the longest decides."""

_C = FailureClass

SIGNS: dict[Dialect, tuple[Sign, ...]] = {
    Dialect.Generic: (
        Sign(_C.InvalidRequest, "the request cannot be understood", status=400),
        Sign(_C.KeyRejected, "the credentials are not accepted", status=401),
        Sign(_C.QuotaExhausted, "the account has no balance left", status=402),
        Sign(_C.PermissionDenied, "the key is known, but may not do this", status=403),
        Sign(_C.ModelNotFound, "with inference routes the only name in question is the model's", status=404),
        Sign(_C.ServerError, "a proxy on the way wants credentials: not ours to give", status=407),
        Sign(_C.ServerError, "the provider gave up waiting: its trouble, not the request's", status=408),
        Sign(_C.Conflict, "another request was updating the same resource; asking again helps", status=409),
        Sign(_C.ModelNotFound, "it was here once and is gone: a retired model", status=410),
        Sign(_C.InvalidRequest, "the body is larger than is taken from anybody", status=413),
        Sign(_C.InvalidRequest, "the body is of a type that is not taken", status=415),
        Sign(_C.InvalidRequest, "the body is understood and makes no sense", status=422),
        Sign(
            _C.Conflict, "sent too early in the handshake; asking again is what the status means", status=425
        ),
        Sign(_C.RateLimited, "too many requests, unless a type or code tells of quota", status=429),
        Sign(_C.RegionRefused, "unavailable for legal reasons, where we are", status=451),
        Sign(_C.Overloaded, "Groq: the flexible tier's capacity is used up", status=498),
        Sign(_C.ServerError, "the provider failed", status=500),
        Sign(_C.ServerError, "what stands behind the provider failed", status=502),
        Sign(_C.Overloaded, "the provider cannot take requests now", status=503),
        Sign(_C.ServerError, "what stands behind the provider is silent", status=504),
        Sign(_C.Overloaded, "Anthropic's status for overload, which others have copied", status=529),
        Sign(_C.QuotaExhausted, "comes as 429, but no wait of seconds helps", code="insufficient_quota"),
        Sign(
            _C.QuotaExhausted, "the same, where the code is left out", status=429, kind="insufficient_quota"
        ),
        Sign(_C.KeyRejected, "says what 400 and 403 leave open", code="invalid_api_key"),
        Sign(_C.ModelNotFound, "does not exist, or not for this key", code="model_not_found"),
        Sign(_C.ModelNotAllowed, "exists, but not for this project", status=403, code="model_not_found"),
        Sign(_C.RateLimited, "names the limit where the status does not", code="rate_limit_exceeded"),
        Sign(
            _C.TooLargeForKey,
            "Groq: more tokens than a whole minute of the key",
            status=413,
            code="rate_limit_exceeded",
        ),
        Sign(_C.InvalidRequest, "the model cannot read as much", code="context_length_exceeded"),
        Sign(_C.ContentRefused, "Azure's word for its filter, which gateways pass on", code="content_filter"),
        Sign(_C.ServerError, "the error of a stream or of a background answer", code="server_error"),
        # The types count where an error comes without a status: inside a 200, or in a stream.
        Sign(_C.InvalidRequest, "by its name", kind="invalid_request_error"),
        Sign(_C.KeyRejected, "by its name", kind="authentication_error"),
        Sign(_C.PermissionDenied, "by its name", kind="permission_error"),
        Sign(_C.ModelNotFound, "by its name", kind="not_found_error"),
        Sign(_C.QuotaExhausted, "by its name", kind="insufficient_quota"),
        Sign(_C.RateLimited, "by its name", kind="rate_limit_error"),
        Sign(_C.RateLimited, "the code in the type's place", kind="rate_limit_exceeded"),
        Sign(_C.Overloaded, "by its name", kind="overloaded_error"),
        Sign(_C.ServerError, "by its name", kind="server_error"),
    ),
    Dialect.OpenAI: (
        Sign(_C.QuotaExhausted, "the month's hard limit is reached", code="billing_hard_limit_reached"),
        Sign(_C.QuotaExhausted, "429 without a plan that is paid for", code="billing_not_active"),
        Sign(_C.KeyRejected, "the account is closed, and its keys with it", code="account_deactivated"),
        Sign(_C.RegionRefused, "the address we call from", code="unsupported_country_region_territory"),
        Sign(_C.ContentRefused, "the prompt breaks the usage policy", code="content_policy_violation"),
        Sign(_C.ContentRefused, "the Responses API's word for a flagged prompt", code="invalid_prompt"),
        Sign(_C.Overloaded, "inside streams, without a status", code="server_is_overloaded"),
        Sign(_C.Overloaded, "inside streams: the 503 that asks for a slower ramp", code="slow_down"),
        Sign(_C.RateLimited, "the limit of requests, named as a type", kind="requests"),
        Sign(_C.RateLimited, "the limit of tokens, named as a type", kind="tokens"),
        Sign(_C.ModelNotFound, "Groq: 400 for a model that was taken away", code="model_decommissioned"),
        Sign(_C.ModelNotAllowed, "Groq: closed by the organization", code="model_permission_blocked_org"),
        Sign(_C.ModelNotAllowed, "Groq: closed by the project", code="model_permission_blocked_project"),
        Sign(_C.ModelNotAllowed, "Groq: terms to be accepted first", code="model_terms_required"),
        Sign(_C.KeyRejected, "Groq: 400 for an account that was closed", code="organization_restricted"),
    ),
    Dialect.Azure: (
        Sign(_C.ModelNotFound, "a deployment belongs to one resource only", code="DeploymentNotFound"),
        Sign(_C.InvalidRequest, "the deployed model cannot do this operation", code="OperationNotSupported"),
        Sign(_C.PermissionDenied, "401 for a known principal without the role", code="PermissionDenied"),
        Sign(_C.KeyRejected, "the resource takes no keys at all", code="AuthenticationTypeDisabled"),
        Sign(_C.RateLimited, "the deployment's tokens or requests a minute", code="RateLimitReached"),
        Sign(_C.Overloaded, "429 for the region's lack, not for the key's limit", code="NoCapacity"),
        Sign(_C.ContentRefused, "the filter's own word", code="ResponsibleAIPolicyViolation"),
        Sign(
            _C.QuotaExhausted, "403 of the free tier; no code", status=403, opening="Out of call volume quota"
        ),
    ),
    Dialect.Anthropic: (
        Sign(_C.QuotaExhausted, "the 402 inside a stream", kind="billing_error"),
        Sign(_C.InvalidRequest, "the 413 inside a stream", kind="request_too_large"),
        Sign(_C.ServerError, "the 500 inside a stream", kind="api_error"),
        Sign(_C.ServerError, "the 504 inside a stream", kind="timeout_error"),
        # Three states of the account come as 400 invalid_request_error like any bad request, and only the
        # message tells. Matching texts is frail, and where a message repeats the caller's words a caller
        # could write them: so only the opening counts, which here is always the provider's own.
        Sign(
            _C.QuotaExhausted, "prepaid money is gone", status=400, opening="Your credit balance is too low"
        ),
        Sign(
            _C.QuotaExhausted,
            "the month's own limit",
            status=400,
            opening="You have reached your specified API usage",
        ),
        Sign(
            _C.KeyRejected, "the account is closed", status=400, opening="This organization has been disabled"
        ),
    ),
    Dialect.Gemini: (
        Sign(_C.KeyRejected, "400 INVALID_ARGUMENT, told only by the reason", code="API_KEY_INVALID"),
        Sign(
            _C.KeyRejected, "the same where the details are left out", status=400, opening="API key not valid"
        ),
        Sign(_C.KeyRejected, "blocked for good", status=403, opening="Your API key was reported as leaked"),
        Sign(_C.KeyRejected, "closed", status=403, opening="Your project has been denied access"),
        Sign(_C.KeyRejected, "the project behind the key is suspended", code="CONSUMER_SUSPENDED"),
        Sign(_C.QuotaExhausted, "the project behind the key has no billing", code="BILLING_DISABLED"),
        Sign(
            _C.QuotaExhausted,
            "a day's quota, whatever seconds RetryInfo names beside it",
            status=429,
            code_part=DAILY_QUOTA,
        ),
        Sign(
            _C.RegionRefused, "told only by the message", status=400, opening="User location is not supported"
        ),
        Sign(
            _C.PermissionDenied,
            "the free tier is closed to this project's place",
            status=400,
            kind="FAILED_PRECONDITION",
        ),
        Sign(_C.InvalidRequest, "the 400 inside a stream", kind="INVALID_ARGUMENT"),
        Sign(_C.KeyRejected, "the 401 inside a stream", kind="UNAUTHENTICATED"),
        Sign(_C.PermissionDenied, "the 403 inside a stream", kind="PERMISSION_DENIED"),
        Sign(_C.ModelNotFound, "the 404 inside a stream", kind="NOT_FOUND"),
        Sign(_C.RateLimited, "the 429 inside a stream", kind="RESOURCE_EXHAUSTED"),
        Sign(_C.ServerError, "the 500 inside a stream", kind="INTERNAL"),
        Sign(_C.Overloaded, "the 503 inside a stream", kind="UNAVAILABLE"),
        Sign(_C.ServerError, "the 504 inside a stream", kind="DEADLINE_EXCEEDED"),
    ),
    Dialect.Xai: (
        # Here too nothing but the opening of the message tells it, and it is the provider's own.
        Sign(_C.KeyRejected, "400 for a wrong key", status=400, opening="Incorrect API key provided"),
    ),
}

UNKNOWN_REFUSAL = Sign(_C.InvalidRequest, "a 4xx of which nothing is known is the request's fault")
UNKNOWN = Sign(_C.ServerError, "neither an answer nor a refusal that anybody knows")

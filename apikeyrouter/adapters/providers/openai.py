"""OpenAI, and every provider that speaks its dialect under another base URL."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from apikeyrouter.adapters.providers.error_shapes import NOT_JSON, complaint_in
from apikeyrouter.adapters.providers.httptools_transport import HttptoolsTransport
from apikeyrouter.adapters.providers.limits import ERROR_BODY_S, MAX_ANSWER_BYTES, MAX_ERROR_BODY_BYTES
from apikeyrouter.adapters.providers.openai_stream import OpenAIStream
from apikeyrouter.adapters.providers.openai_wire import answer_fields, label, usage_of
from apikeyrouter.adapters.providers.rate_limit_headers import rate_limit_reports
from apikeyrouter.adapters.providers.redaction import Mask
from apikeyrouter.adapters.providers.request_head import is_visible_ascii, target_of
from apikeyrouter.adapters.providers.retry_after import retry_after_us
from apikeyrouter.adapters.providers.transport import (
    Deadlines,
    HttpRequest,
    HttpResponse,
    Transport,
    TransportError,
)
from apikeyrouter.domain.events import ModelOffer
from apikeyrouter.domain.failures import (
    SECOND_US,
    AttemptFailedError,
    Complaint,
    Failure,
    FailureClass,
    failure_of,
)
from apikeyrouter.domain.interfaces.provider_adapter import ProviderDescription, UpstreamAnswer, UpstreamCall
from apikeyrouter.domain.models.system_error import ConfigurationError
from apikeyrouter.domain.offers import parse_offers
from apikeyrouter.domain.rate_limits import RateLimitReport

DEFAULT_BASE_URL = "https://api.openai.com/v1"
PATHS = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
    "responses": "/responses",
}


class OpenAIAdapter:
    """Implements `ProviderAdapter`. The key comes with each call; the adapter keeps none."""

    def __init__(
        self,
        base_url: str | None = None,
        *,
        transport: Transport | None = None,
        models: Sequence[ModelOffer | str | Mapping[str, Any]] = (),
        organization: str | None = None,
        deadlines: Deadlines | None = None,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._base_url = _checked_base_url(base_url)
        self._owns_transport = transport is None
        self._transport: Transport = HttptoolsTransport() if transport is None else transport
        self._models = parse_offers(models)
        self._headers = _constant_headers(organization)
        self._deadlines = Deadlines() if deadlines is None else deadlines
        self._now_s = now_s

    def describe(self) -> ProviderDescription:
        """Tell kind, address and models, for the log."""
        return ProviderDescription(kind="openai", base_url=self._base_url, models=self._models)

    async def execute(self, call: UpstreamCall) -> UpstreamAnswer:
        """Make one call and return the whole answer."""
        mask = Mask(call.key_material)
        response = await self._accepted(call, mask, accept="application/json")
        limits = rate_limit_reports(response.headers, self._now_s)
        body = mask.hide(await _read(response, MAX_ANSWER_BYTES, limits))
        fields = answer_fields(call.operation, body)
        if fields is None or b'"error"' in body:
            self._raise_error_in(body, response, call, mask)
        if fields is None:
            raise _failed(FailureClass.MalformedAnswer, response.status, limits=limits)
        return UpstreamAnswer(
            body=body,
            usage=usage_of(fields.usage),
            model=label(fields.model, mask),
            finish_reason=label(fields.finish_reason, mask),
            upstream_request_id=label(response.headers.get("x-request-id"), mask),
            limits=limits,
        )

    async def open_stream(self, call: UpstreamCall) -> OpenAIStream:
        """Make one streaming call; return once the first event is there."""
        mask = Mask(call.key_material)
        response = await self._accepted(call, mask, accept="text/event-stream")
        limits = rate_limit_reports(response.headers, self._now_s)
        if not _is_event_stream(response):
            body = mask.hide(await _read(response, MAX_ERROR_BODY_BYTES, limits))
            self._raise_error_in(body, response, call, mask)
            raise _failed(FailureClass.MalformedAnswer, response.status, limits=limits)
        stream = _opened(response, call.operation, mask, limits)
        await stream.begin()
        return stream

    async def close(self) -> None:
        """Give connections back, unless the transport is the user's."""
        if self._owns_transport:
            await self._transport.close()

    async def _accepted(self, call: UpstreamCall, mask: Mask, *, accept: str) -> HttpResponse:
        """Send the call; return only an answer of success."""
        request = self._request(call, accept)
        try:
            response = await self._transport.send(request)
        except TransportError as error:
            failure = Failure(failure_class=error.failure_class, sent=error.sent)
        else:
            if 200 <= response.status < 300:
                return response
            failure = await self._refusal(response, call, mask)
        raise AttemptFailedError(failure)

    def _request(self, call: UpstreamCall, accept: str) -> HttpRequest:
        path = PATHS.get(call.operation)
        if path is None:
            raise _failed(FailureClass.InvalidRequest, None, sent=False)
        if not call.key_material or " " in call.key_material or not is_visible_ascii(call.key_material):
            raise _failed(FailureClass.KeyRejected, None, sent=False)
        if call.deadline_us <= 0:
            raise _failed(FailureClass.TotalTimeout, None, sent=False)
        return HttpRequest(
            method="POST",
            url=self._base_url + path,
            headers=[("authorization", f"Bearer {call.key_material}"), ("accept", accept), *self._headers],
            body=call.body,
            deadlines=self._within(call.deadline_us / SECOND_US),
        )

    def _within(self, allowed_s: float) -> Deadlines:
        deadlines = self._deadlines
        if allowed_s >= deadlines.total_s:
            return deadlines
        return msgspec.structs.replace(deadlines, total_s=allowed_s)

    async def _refusal(self, response: HttpResponse, call: UpstreamCall, mask: Mask) -> Failure:
        """Classify an answer that is not a success."""
        body = mask.hide(await _read_error_body(response))
        complaint = complaint_in(body, mask, refused=True, model=call.model)
        return self._judged(complaint, response, body, mask)

    def _raise_error_in(self, body: bytes, response: HttpResponse, call: UpstreamCall, mask: Mask) -> None:
        """Raise what an answer of success says in its body: that it is none."""
        complaint = complaint_in(body, mask, model=call.model)
        if complaint is not None:
            raise AttemptFailedError(self._judged(complaint, response, body, mask))

    def _judged(
        self, complaint: Complaint | None, response: HttpResponse, body: bytes, mask: Mask
    ) -> Failure:
        """Name the failure; the client gets the provider's words only where it is at fault."""
        failure = failure_of(
            response.status,
            complaint,
            asked_us=retry_after_us(response.headers, self._now_s),
            limits=rate_limit_reports(response.headers, self._now_s),
        )
        if not failure.handling.quotes_provider:
            return failure
        return msgspec.structs.replace(failure, body=_for_the_client(body, mask))


def _checked_base_url(base_url: str | None) -> str:
    setting = "OPENAI_BASE_URL" if base_url is None else "base_url"
    url = base_url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL
    try:
        target_of("POST", url)
    except TransportError:
        usable = False
    else:
        usable = "?" not in url and "#" not in url
    if not usable:
        # The value is not repeated: an address with a password in it is one of the things refused here.
        raise ConfigurationError(
            f"{setting} must be an http(s) address without credentials, query or fragment"
        )
    return url.rstrip("/")


def _constant_headers(organization: str | None) -> tuple[tuple[str, str], ...]:
    headers = (("content-type", "application/json"), ("user-agent", "apikeyrouter"))
    if organization is None:
        return headers
    if not is_visible_ascii(organization):
        raise ConfigurationError("organization must be visible ASCII")
    return (*headers, ("openai-organization", organization))


def _is_event_stream(response: HttpResponse) -> bool:
    return "text/event-stream" in response.headers.get("content-type", "text/event-stream").lower()


def _opened(
    response: HttpResponse, operation: str, mask: Mask, limits: tuple[RateLimitReport, ...]
) -> OpenAIStream:
    try:
        return OpenAIStream(response, operation, mask, limits)
    except TransportError as error:  # a content encoding that nobody can read
        failure_class = error.failure_class
    response.close()
    raise _failed(failure_class, response.status, limits=limits)


async def _read(response: HttpResponse, limit_bytes: int, limits: tuple[RateLimitReport, ...]) -> bytes:
    try:
        return await response.read(limit_bytes)
    except TransportError as error:
        failure_class = error.failure_class
    response.close()
    raise _failed(failure_class, response.status, limits=limits)


async def _read_error_body(response: HttpResponse) -> bytes:
    try:
        async with asyncio.timeout(ERROR_BODY_S):
            return await response.read(MAX_ERROR_BODY_BYTES)
    except (TransportError, TimeoutError):
        response.close()
        return b""


def _for_the_client(body: bytes, mask: Mask) -> bytes | None:
    """Keep a provider's error that is JSON, written anew so that no escape hides the key from the mask."""
    if len(body) > MAX_ERROR_BODY_BYTES:
        return None
    try:
        written = msgspec.json.encode(msgspec.json.decode(body))
    except (*NOT_JSON, msgspec.EncodeError):
        return None
    return mask.hide(written)


def _failed(
    failure_class: FailureClass,
    status: int | None,
    *,
    sent: bool = True,
    limits: tuple[RateLimitReport, ...] = (),
) -> AttemptFailedError:
    return AttemptFailedError(Failure(failure_class=failure_class, status=status, sent=sent, limits=limits))

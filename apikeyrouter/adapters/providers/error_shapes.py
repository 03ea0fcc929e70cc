"""Read the error that an upstream wrote, in whichever provider's shape, into the same few words."""

import re

import msgspec

from apikeyrouter.adapters.providers.limits import MAX_ERROR_BODY_BYTES
from apikeyrouter.adapters.providers.redaction import Mask
from apikeyrouter.adapters.providers.retry_after import duration_us
from apikeyrouter.domain.failure_tables import DAILY_QUOTA
from apikeyrouter.domain.failures import Complaint, Dialect

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_NO_ERROR = frozenset({b"", b"null", b"false", b'""', b"{}"})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}", re.ASCII)
_MOST_DIGITS = 6


class _Envelope(msgspec.Struct, gc=False):
    """What stands around an error. Mistral and others write the error's fields right here."""

    error: msgspec.Raw = msgspec.Raw()
    type: object = None
    calls_itself: object = msgspec.field(default=None, name="object")
    code: object = None


class _Fields(msgspec.Struct, gc=False):
    """An error's fields: `status`, `details` are Google's, `innererror` is Azure's."""

    code: object = None
    type: object = None
    message: object = None
    status: object = None
    details: msgspec.Raw = msgspec.Raw()
    innererror: msgspec.Raw = msgspec.Raw()


class _Violation(msgspec.Struct, gc=False, rename="camel"):
    quota_id: str = ""


class _Detail(msgspec.Struct, gc=False, rename="camel"):
    """One of Google's details: an ErrorInfo has a reason, a RetryInfo a delay, a QuotaFailure violations."""

    reason: str | None = None
    retry_delay: str | None = None
    violations: list[_Violation] = []


_envelope = msgspec.json.Decoder(_Envelope)
_envelopes = msgspec.json.Decoder(list[msgspec.Raw])
_fields = msgspec.json.Decoder(_Fields)
_details = msgspec.json.Decoder(list[_Detail])
_text = msgspec.json.Decoder(str)


def is_error(raw: msgspec.Raw) -> bool:
    """Tell whether the value of a field `error` says that there is one."""
    return bytes(raw) not in _NO_ERROR


def complaint_in(body: bytes, mask: Mask, *, refused: bool = False, model: str = "") -> Complaint | None:
    """Read a body that may be an error; None if it is something else, or its error is null.

    With `refused` the status has said already that this is an error, so bare fields are taken for one.
    A message that begins with the name of the `model` repeats the caller, so it proves nothing.
    """
    try:
        body = _unlisted(body)
        envelope = _envelope.decode(body)
    except (*NOT_JSON, IndexError):
        return None
    if not is_error(envelope.error):
        bare = refused or "error" in (envelope.type, envelope.calls_itself)
        return complaint_of(msgspec.Raw(body), mask) if bare else None
    complaint = complaint_of(envelope.error, mask)
    echo = bool(model.strip()) and complaint.message.startswith(model.strip())
    return msgspec.structs.replace(
        complaint,
        dialect=_dialect_around(envelope, complaint.dialect),
        message="" if echo else complaint.message,
    )


def _unlisted(body: bytes) -> bytes:
    """Take an error out of the list of one that Google answers to OpenAI's dialect."""
    if len(body) > MAX_ERROR_BODY_BYTES or body.lstrip()[:1] != b"[":
        return body
    return bytes(_envelopes.decode(body)[0])


def complaint_of(raw: msgspec.Raw, mask: Mask) -> Complaint:
    """Read an error's own fields; some providers write it as a bare string. What is too long is not read."""
    if len(bytes(raw)) > MAX_ERROR_BODY_BYTES:
        return Complaint()
    try:
        fields = _fields.decode(raw)
    except NOT_JSON:
        return Complaint(message=_bare_text(raw))
    status, code = _status_or_code(fields.code)
    kind, wait_us = None if fields.type == "error" else fields.type, None
    if _is_googles(fields):
        kind = fields.status
        code, wait_us = _googles_details(fields.details)
    return Complaint(
        dialect=_dialect_of(fields),
        status=status,
        kind=_name(kind, mask),
        code=_name(code, mask),
        message=fields.message if isinstance(fields.message, str) else "",
        wait_us=wait_us,
    )


def _bare_text(raw: msgspec.Raw) -> str:
    try:
        return _text.decode(raw)
    except NOT_JSON:
        return ""


def _status_or_code(value: object) -> tuple[int | None, object]:
    """Tell a status in the place of the code, which Google writes as a number and Azure as a text."""
    if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isdecimal():
        value = int(value)
    if type(value) is int:
        return (value if 400 <= value <= 599 else None), None
    return None, value


def _is_googles(fields: _Fields) -> bool:
    return isinstance(fields.status, str) and fields.status.isupper()


def _dialect_of(fields: _Fields) -> Dialect:
    """Guess the dialect of an error by its shape: a wrong guess still finds what all dialects share."""
    if _is_googles(fields):
        return Dialect.Gemini
    pascal = isinstance(fields.code, str) and fields.code[:1].isupper()
    numeral = isinstance(fields.code, str) and fields.code.isdecimal()
    if pascal or numeral or bytes(fields.innererror):
        return Dialect.Azure
    return Dialect.OpenAI


def _dialect_around(envelope: _Envelope, inner: Dialect) -> Dialect:
    if envelope.type == "error":
        return Dialect.Anthropic
    if isinstance(envelope.code, str) and bytes(envelope.error)[:1] == b'"':
        return Dialect.Xai
    return inner


def _googles_details(raw: msgspec.Raw) -> tuple[str | None, int | None]:
    """Read the reason or the quota that is used up, and the wait; of several quotas the slowest counts."""
    try:
        details = _details.decode(raw)
    except NOT_JSON:
        return None, None
    reasons = [detail.reason for detail in details if detail.reason]
    violations = [violation for detail in details for violation in detail.violations]
    quotas = [violation.quota_id for violation in violations if violation.quota_id]
    waits = [duration_us(detail.retry_delay) for detail in details if detail.retry_delay]
    daily = [quota for quota in quotas if DAILY_QUOTA in quota]
    return next(iter([*daily, *reasons, *quotas]), None), next(iter(waits), None)


def _name(value: object, mask: Mask) -> str | None:
    """Accept a name that may be logged: no sentence, not the key, and not as many digits as secrets have."""
    if not isinstance(value, str) or not _NAME.fullmatch(value) or mask.occurs_in(value):
        return None
    return value if sum(character.isdecimal() for character in value) <= _MOST_DIGITS else None

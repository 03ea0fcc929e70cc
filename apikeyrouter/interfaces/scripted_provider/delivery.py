"""How an answer reaches the client: its steps, their pace and its end, and how each fault spoils that."""

import zlib
from collections.abc import Callable, Iterable
from enum import Enum, auto
from functools import cache
from itertools import repeat
from typing import NamedTuple

from apikeyrouter.interfaces.scripted_provider.answers import Manner, Piece
from apikeyrouter.interfaces.scripted_provider.behaviour import AbsurdUsage, Fault, FaultKind
from apikeyrouter.interfaces.scripted_provider.limits import Headers
from apikeyrouter.interfaces.scripted_provider.refusals import Refusal, error_body, text_for

JSON = b"application/json"
EVENT_STREAM = b"text/event-stream; charset=utf-8"
PAGE = b"<html><head><title>Welcome</title></head><body><h1>Sign in to this network</h1></body></html>"
MEBIBYTE = 1 << 20
GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
BOMB_MEBIBYTES = 1024


class Ending(Enum):
    """What happens after the last step."""

    Complete = auto()
    CompleteThenClose = auto()
    Cut = auto()
    Hang = auto()
    EndlessHeaders = auto()


class Step(NamedTuple):
    """Bytes sent together after a rest, and the output tokens they bring."""

    data: bytes
    tokens: int = 0
    rest_s: float = 0.0


class Delivery(NamedTuple):
    """Everything that will be sent, after some thinking. Status None: no headers. Length None: chunked."""

    status: int | None
    content_type: bytes
    steps: Iterable[Step]
    content_length: int | None = None
    headers: Headers = ()
    ending: Ending = Ending.Complete
    input_tokens: int = 0
    thinking_s: float = 0.0


def whole(piece: Piece, input_tokens: int, token_s: float) -> Delivery:
    """Deliver an answer at once, when all of its tokens are there."""
    data, tokens = piece
    thinking_s = tokens * token_s
    return Delivery(
        200, JSON, [Step(data, tokens)], len(data), input_tokens=input_tokens, thinking_s=thinking_s
    )


def streamed(pieces: Iterable[Piece], input_tokens: int, token_s: float) -> Delivery:
    """Deliver the events of a stream at the pace of its tokens."""
    steps = [Step(data, tokens, tokens * token_s) for data, tokens in pieces]
    return Delivery(200, EVENT_STREAM, steps, input_tokens=input_tokens)


def refused(refusal: Refusal) -> Delivery:
    """Deliver an error."""
    return body_of(refusal.status, JSON, refusal.body)._replace(headers=refusal.headers)


def body_of(status: int, content_type: bytes, body: bytes) -> Delivery:
    """Deliver plain bytes."""
    return Delivery(status, content_type, [Step(body)], len(body))


def status_fault(fault: Fault, key_sent: str) -> Delivery:
    """Answer with the scripted status and what the script says of it."""
    status = fault.status or 500
    error_type, code, message = text_for(status)
    if fault.message is not None:
        message = fault.message.replace("{key}", key_sent)
    if fault.code is not None:
        code = error_type = fault.code
    headers = [(name.lower().encode(), value.encode()) for name, value in fault.headers.items()]
    if fault.retry_after is not None:
        headers.append((b"retry-after", str(fault.retry_after).encode()))
    return body_of(status, JSON, error_body(error_type, code, message))._replace(headers=headers)


def gzip_bomb() -> Delivery:
    """Deliver a megabyte that unpacks to a gigabyte of spaces; nobody should reach its missing end."""
    steps = [Step(GZIP_HEADER), *repeat(Step(packed_mebibyte()), BOMB_MEBIBYTES)]
    return Delivery(200, JSON, steps, headers=[(b"content-encoding", b"gzip")])


@cache
def packed_mebibyte() -> bytes:
    """Pack a mebibyte of spaces into a deflate block that can be repeated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(b" " * MEBIBYTE) + packer.flush(zlib.Z_FULL_FLUSH)


INSTEAD: dict[FaultKind, Callable[[Fault, str], Delivery]] = {
    FaultKind.Status: status_fault,
    FaultKind.Html: lambda _, __: body_of(200, b"text/html; charset=utf-8", PAGE),
    FaultKind.Empty: lambda _, __: body_of(200, JSON, b""),
    FaultKind.HangBeforeHeaders: lambda _, __: Delivery(None, JSON, [], ending=Ending.Hang),
    FaultKind.HangAfterHeaders: lambda _, __: Delivery(200, JSON, [], ending=Ending.Hang),
    FaultKind.CutBeforeHeaders: lambda _, __: Delivery(None, JSON, [], ending=Ending.Cut),
    FaultKind.EndlessHeaders: lambda _, __: Delivery(None, JSON, [], ending=Ending.EndlessHeaders),
    FaultKind.EndlessBody: lambda _, __: Delivery(200, JSON, repeat(Step(b" " * 65_536, 0, 0.001))),
    FaultKind.GzipBomb: lambda _, __: gzip_bomb(),
}


ABSURD: dict[AbsurdUsage, bytes] = {
    "negative": b"-5",
    "infinite": b"1e400",
    "overflow": b"1" + b"0" * 30,
    "text": b'"many"',
    "null": b"null",
}


def manner_of(fault: Fault | None, key_sent: str) -> Manner:
    """Tell how the answer shall speak of itself."""
    match fault:
        case Fault(kind=FaultKind.UsageMissing):
            return Manner(with_usage=False)
        case Fault(kind=FaultKind.UsageAbsurd):
            return Manner(usage_literal=ABSURD[fault.usage])
        case Fault(kind=FaultKind.EchoKey):
            return Manner(echo=key_sent)
    return Manner()


def first_half(delivery: Delivery, *, inside: bool = False) -> list[Step]:
    """Return the steps before the middle one; with `inside`, or if it is the only one, half of it too."""
    steps = list(delivery.steps)
    middle = steps[len(steps) // 2]
    before = steps[: len(steps) // 2]
    if inside or not before:
        before.append(middle._replace(data=middle.data[: len(middle.data) // 2]))
    return before


def truncated(delivery: Delivery, _: Fault) -> Delivery:
    """End well in the midst of the JSON."""
    steps = first_half(delivery, inside=True)
    length = None if delivery.content_length is None else sum(len(step.data) for step in steps)
    return delivery._replace(steps=steps, content_length=length)


def trickled(delivery: Delivery, fault: Fault) -> Delivery:
    """Send byte by byte; a step's tokens come with its first byte."""

    def bytes_of(step: Step) -> Iterable[Step]:
        for i in range(len(step.data)):
            yield Step(step.data[i : i + 1], 0 if i else step.tokens, fault.every_ms / 1000)

    return delivery._replace(steps=(byte for step in delivery.steps for byte in bytes_of(step)))


def cut(delivery: Delivery, fault: Fault) -> Delivery:
    """Cut the connection halfway: between events, or in the midst of one."""
    inside = fault.kind is not FaultKind.CutMidStream
    return delivery._replace(steps=first_half(delivery, inside=inside), ending=Ending.Cut)


def cut_in_character(delivery: Delivery, _: Fault) -> Delivery:
    """Cut the connection between the two bytes of one character."""
    steps = first_half(delivery)
    half = b"\xc3" if delivery.content_length is not None else b'data: {"choices":[{"delta":{"content":"\xc3'
    return delivery._replace(steps=[*steps, Step(half)], ending=Ending.Cut)


def error_event(delivery: Delivery, fault: Fault) -> Delivery:
    """Break off with an error inside a success."""
    error_type, code, message = text_for(500)
    error = error_body(error_type, fault.code or code, fault.message or message)
    if delivery.content_length is not None:
        return body_of(200, JSON, error)
    return delivery._replace(steps=[*first_half(delivery), Step(b"data: " + error + b"\n\n")])


def without_last(delivery: Delivery, _: Fault) -> Delivery:
    """Leave out the event that says the stream is complete."""
    steps = list(delivery.steps)
    return delivery if delivery.content_length is not None else delivery._replace(steps=steps[:-1])


SPOILS: dict[FaultKind, Callable[[Delivery, Fault], Delivery]] = {
    FaultKind.TruncatedJson: truncated,
    FaultKind.WrongContentType: lambda delivery, _: delivery._replace(content_type=b"text/plain"),
    FaultKind.Trickle: trickled,
    FaultKind.CutMidBody: cut,
    FaultKind.CutMidStream: cut,
    FaultKind.CutMidEvent: cut,
    FaultKind.CutMidCharacter: cut_in_character,
    FaultKind.CloseAfterAnswer: lambda delivery, _: delivery._replace(ending=Ending.CompleteThenClose),
    FaultKind.ErrorEvent: error_event,
    FaultKind.MissingDone: without_last,
}


def spoiled(delivery: Delivery, fault: Fault | None) -> Delivery:
    """Let a fault spoil a delivery, if it is one of those that do."""
    spoil = None if fault is None else SPOILS.get(fault.kind)
    return delivery if spoil is None or fault is None else spoil(delivery, fault)

"""A stream in OpenAI's dialect: events forwarded untouched, reading only those that tell something."""

from collections.abc import AsyncIterator, Callable
from typing import Literal

import msgspec

from apikeyrouter.adapters.providers.error_shapes import NOT_JSON, complaint_in, complaint_of, is_error
from apikeyrouter.adapters.providers.limits import MAX_EVENT_BYTES
from apikeyrouter.adapters.providers.openai_wire import (
    StreamFields,
    event_fields,
    finish_reason_of,
    label,
    snapshot_fields,
    usage_of,
)
from apikeyrouter.adapters.providers.redaction import Mask
from apikeyrouter.adapters.providers.sse import EventSplitter, EventTooLongError, data_of, events_of
from apikeyrouter.adapters.providers.transport import HttpResponse, Relay, TransportError
from apikeyrouter.domain.failures import AttemptFailedError, Complaint, Failure, FailureClass, failure_of
from apikeyrouter.domain.interfaces.provider_adapter import Usage
from apikeyrouter.domain.rate_limits import RateLimitReport

_DONE = b"[DONE]"
_ENDINGS = ("response.completed", "response.incomplete")
_RESPONSES_MARKS = (b"response.completed", b"response.incomplete", b"response.failed", b'"error"')


class _QuietChoice(msgspec.Struct, gc=False):
    finish_reason: Literal[""] | None = None


class _QuietEvent(msgspec.Struct, gc=False):
    """An event of a chat that tells nothing: whatever may be worth reading is absent or null."""

    choices: list[_QuietChoice]
    type: None = None
    error: None = None
    usage: None = None


_quiet_event = msgspec.json.Decoder(_QuietEvent)


class _Shortcut:
    """Relays a chunk that tells nothing. It does not know its stream, or that would hold itself."""

    __slots__ = ("_mask", "_splitter", "_tells", "to")

    def __init__(self, splitter: EventSplitter, mask: Mask, tells: Callable[[bytes], bool]) -> None:
        self.to: Relay | None = None
        self._splitter = splitter
        self._mask = mask
        self._tells = tells

    def take(self, chunk: bytes) -> bool:
        """Relay whole events, or leave them to the reader."""
        if self.to is None or not self._splitter.passes(chunk):
            return False
        events = self._mask.hide(chunk)
        return not self._tells(events) and self.to(events)


class OpenAIStream:
    """Implements `UpstreamStream`. A stream that ends without saying so has broken.

    Chat and text completions end with `[DONE]`, the Responses API with an event of its own.
    """

    def __init__(
        self,
        response: HttpResponse,
        operation: str,
        mask: Mask,
        limits: tuple[RateLimitReport, ...] = (),
    ) -> None:
        self.usage: Usage | None = None
        self.model: str | None = None
        self.finish_reason: str | None = None
        self.upstream_request_id = label(response.headers.get("x-request-id"), mask)
        self.limits = limits
        self._response = response
        self._mask = mask
        self._tells = _tells_in_responses if operation == "responses" else _tells_in_chat
        self._splitter = EventSplitter()
        self._shortcut = _Shortcut(self._splitter, mask, self._tells)
        self._chunks = response.chunks(self._shortcut.take)
        self._first = b""
        self._begun = False
        self._ended = False
        self._failure: Failure | None = None

    async def begin(self) -> None:
        """Return once the first event is there, so that until then another key may be tried."""
        held = b""
        while not self._begun:
            held += await anext(self)
            if len(held) > MAX_EVENT_BYTES:
                self._fail(FailureClass.MalformedAnswer)
        self._first = held

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """Return the next whole events."""
        if self._first:
            first, self._first = self._first, b""
            return first
        while self._failure is None and not self._ended:
            try:
                events = self._splitter.push(await anext(self._chunks))
            except (StopAsyncIteration, EventTooLongError, TransportError) as end:
                events = self._cut_off(end)
            batch = self._observed(self._mask.hide(events))
            if batch:
                return batch
        if self._failure is not None:
            self.close()
            raise AttemptFailedError(self._failure)
        raise StopAsyncIteration

    def relay(self, to: Relay) -> None:
        """Offer what tells nothing to `to`, as it arrives; what that takes is not yielded."""
        self._shortcut.to = to

    def close(self) -> None:
        """Close the upstream connection at once; harmless when it is finished."""
        if not self._ended:
            self._response.close()

    def _cut_off(self, end: Exception) -> bytes:
        """Note why no more will come; return what was whole by then."""
        match end:
            case TransportError():
                self._fail(end.failure_class)
            case EventTooLongError():
                self._fail(FailureClass.MalformedAnswer)
            case _:
                self._fail(FailureClass.BrokenAnswer)
        return self._splitter.finish()

    def _observed(self, batch: bytes) -> bytes:
        """Note what the events tell; return those that are to be forwarded."""
        if self._begun and not self._tells(batch):
            return batch
        forwarded_bytes = 0
        for event in events_of(batch):
            # One that came alone has been looked at above.
            tells = len(event) == len(batch) or not self._begun or self._tells(event)
            if tells and not self._observed_one(event):
                break
            forwarded_bytes += len(event)
            if self._ended:
                self._response.finish()
                break
        return batch[:forwarded_bytes]

    def _observed_one(self, event: bytes) -> bool:
        data = data_of(event)
        return data is None or self._note(data.strip())

    def _note(self, data: bytes) -> bool:
        """Take one event in; False if it is the failure of the stream."""
        if data == _DONE and self._begun:
            return self._end()
        fields = event_fields(data)
        if fields is None or fields.type == "error" or is_error(fields.error):
            return self._note_error(data)
        going_on = self._note_progress(fields)
        self._begun = self._begun or going_on
        return going_on

    def _note_progress(self, fields: StreamFields) -> bool:
        self.model = self.model or label(fields.model, self._mask)
        self.usage = usage_of(fields.usage) or self.usage
        self.finish_reason = label(finish_reason_of(fields.choices), self._mask) or self.finish_reason
        return self._note_snapshot(fields) if bytes(fields.response) else True

    def _note_snapshot(self, fields: StreamFields) -> bool:
        snapshot = snapshot_fields(fields.response)
        if snapshot is None:
            return True
        self.model = self.model or label(snapshot.model, self._mask)
        if fields.type == "response.failed":
            return self._refuse(complaint_of(snapshot.error, self._mask))
        if fields.type not in _ENDINGS:
            return True
        self.usage = usage_of(snapshot.usage) or self.usage
        self.finish_reason = label(snapshot.finish_reason, self._mask)
        return self._end()

    def _note_error(self, data: bytes) -> bool:
        """Take in an event that is an error, or none that anybody could read."""
        complaint = complaint_in(data, self._mask)
        if complaint is None:
            return self._begun or self._fail(FailureClass.MalformedAnswer)
        return self._refuse(complaint)

    def _refuse(self, complaint: Complaint) -> bool:
        return self._break(failure_of(self._response.status, complaint, limits=self.limits))

    def _end(self) -> bool:
        self._ended = True
        self._failure = None
        return True

    def _fail(self, failure_class: FailureClass) -> bool:
        status = self._response.status
        return self._break(Failure(failure_class=failure_class, status=status, limits=self.limits))

    def _break(self, failure: Failure) -> bool:
        if not self._ended:
            self._failure = failure
        return False


def _tells_in_chat(batch: bytes) -> bool:
    """Tell whether this is anything but one event that fits the quiet type.

    Reading an event costs less than searching it for four marks, which words of the answer may imitate.
    """
    try:
        _quiet_event.decode(batch.removeprefix(b"data:"))
    except NOT_JSON:
        return True
    return False


def _tells_in_responses(batch: bytes) -> bool:
    return any(mark in batch for mark in _RESPONSES_MARKS)

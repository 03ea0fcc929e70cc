"""The few fields of OpenAI's answers and events that routing wants; all else passes through unread."""

from typing import Any

import msgspec

from apikeyrouter.adapters.providers.error_shapes import NOT_JSON
from apikeyrouter.adapters.providers.limits import MAX_LABEL_CHARS, MAX_TOKENS_OF_ONE_ANSWER
from apikeyrouter.adapters.providers.redaction import Mask
from apikeyrouter.domain.interfaces.provider_adapter import Usage


class ChoiceFields(msgspec.Struct, gc=False):
    """One of the alternatives of an answer or event."""

    finish_reason: object = None


class ChatFields(msgspec.Struct, gc=False):
    """A chat or text completion."""

    choices: list[ChoiceFields]
    model: object = None
    usage: msgspec.Raw = msgspec.Raw()

    @property
    def finish_reason(self) -> object:
        """How the first choice ended."""
        return self.choices[0].finish_reason if self.choices else None


class EmbeddingsFields(msgspec.Struct, gc=False):
    """A list of vectors, which is large and stays raw."""

    data: msgspec.Raw
    model: object = None
    usage: msgspec.Raw = msgspec.Raw()
    finish_reason: object = None


class ResponsesFields(msgspec.Struct, gc=False):
    """An answer of the Responses API, whole or as the snapshot inside an event."""

    output: msgspec.Raw
    model: object = None
    usage: msgspec.Raw = msgspec.Raw()
    status: object = None
    error: msgspec.Raw = msgspec.Raw()

    @property
    def finish_reason(self) -> object:
        """How it ended."""
        return self.status


class StreamFields(msgspec.Struct, gc=False):
    """Any event of any stream."""

    error: msgspec.Raw = msgspec.Raw()
    type: object = None
    choices: msgspec.Raw = msgspec.Raw()
    model: object = None
    usage: msgspec.Raw = msgspec.Raw()
    response: msgspec.Raw = msgspec.Raw()


class _UsageFields(msgspec.Struct, gc=False):
    prompt_tokens: object = None
    completion_tokens: object = None
    input_tokens: object = None
    output_tokens: object = None


AnswerFields = ChatFields | EmbeddingsFields | ResponsesFields

_chat = msgspec.json.Decoder(ChatFields)
_ANSWER_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    "chat": _chat,
    "completions": _chat,
    "embeddings": msgspec.json.Decoder(EmbeddingsFields),
    "responses": msgspec.json.Decoder(ResponsesFields),
}
_usage = msgspec.json.Decoder(_UsageFields)
_choices = msgspec.json.Decoder(list[ChoiceFields])
_event = msgspec.json.Decoder(StreamFields)
_snapshot = msgspec.json.Decoder(ResponsesFields)


def answer_fields(operation: str, body: bytes) -> AnswerFields | None:
    """Read a whole answer; None if it has not the shape that the operation promises."""
    try:
        if not body.isascii():
            body.decode()  # msgspec does not look into what it skips, but the client's parser will
        fields: AnswerFields = _ANSWER_DECODERS[operation].decode(body)
    except NOT_JSON:
        return None
    return fields if _has_result(fields) else None


def _has_result(fields: AnswerFields) -> bool:
    match fields:
        case ChatFields():
            return bool(fields.choices)
        case EmbeddingsFields():
            return bytes(fields.data)[:1] == b"["
        case ResponsesFields():
            return bytes(fields.output)[:1] == b"["


def event_fields(data: bytes) -> StreamFields | None:
    """Read one event of a stream; None if it is no JSON object."""
    try:
        return _event.decode(data)
    except NOT_JSON:
        return None


def snapshot_fields(raw: msgspec.Raw) -> ResponsesFields | None:
    """Read the snapshot inside an event of the Responses API."""
    try:
        return _snapshot.decode(raw)
    except NOT_JSON:
        return None


def finish_reason_of(raw: msgspec.Raw) -> object:
    """Read how the first choice of an event ended; None while it goes on."""
    try:
        choices = _choices.decode(raw)
    except NOT_JSON:
        return None
    return choices[0].finish_reason if choices else None


def usage_of(raw: msgspec.Raw) -> Usage | None:
    """Read token counts; an absurd count is no count."""
    try:
        fields = _usage.decode(raw)
    except NOT_JSON:
        return None
    consumed = fields.input_tokens if fields.prompt_tokens is None else fields.prompt_tokens
    produced = fields.output_tokens if fields.completion_tokens is None else fields.completion_tokens
    return _plausible(consumed, 0 if produced is None else produced)


def _plausible(consumed: object, produced: object) -> Usage | None:
    counts = (consumed, produced)
    # `type` and not `isinstance`: true and false are no counts.
    if all(type(count) is int and 0 <= count <= MAX_TOKENS_OF_ONE_ANSWER for count in counts):
        return Usage(consumed, produced)  # type: ignore[arg-type]  # both were just seen to be integers
    return None


def label(value: object, mask: Mask) -> str | None:
    """Accept a short printable text that may be logged: a name, not a message, and not the key."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_LABEL_CHARS:
        return None
    return value if value.isprintable() and not mask.occurs_in(value) else None

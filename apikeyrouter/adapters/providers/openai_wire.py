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


class _DetailFields(msgspec.Struct, gc=False):
    cached_tokens: object = None
    cache_write_tokens: object = None
    audio_tokens: object = None
    image_tokens: object = None
    reasoning_tokens: object = None


_NO_DETAILS = _DetailFields()


_ABSENT = msgspec.Raw()


class _UsageFields(msgspec.Struct, gc=False):
    prompt_tokens: object = None
    completion_tokens: object = None
    input_tokens: object = None
    output_tokens: object = None
    total_tokens: object = None
    prompt_tokens_details: msgspec.Raw = _ABSENT
    completion_tokens_details: msgspec.Raw = _ABSENT
    input_tokens_details: msgspec.Raw = _ABSENT
    output_tokens_details: msgspec.Raw = _ABSENT
    prompt_cache_hit_tokens: object = None  # DeepSeek's name for cached input
    cached_tokens: object = None  # Moonshot's


AnswerFields = ChatFields | EmbeddingsFields | ResponsesFields

_chat = msgspec.json.Decoder(ChatFields)
_ANSWER_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    "chat": _chat,
    "completions": _chat,
    "embeddings": msgspec.json.Decoder(EmbeddingsFields),
    "responses": msgspec.json.Decoder(ResponsesFields),
}
_usage = msgspec.json.Decoder(_UsageFields)
_details = msgspec.json.Decoder(_DetailFields)
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
    """Read token counts; an absurd count is no count, and an absurd part is no part."""
    try:
        fields = _usage.decode(raw)
    except NOT_JSON:
        return None
    consumed = fields.input_tokens if fields.prompt_tokens is None else fields.prompt_tokens
    produced = fields.output_tokens if fields.completion_tokens is None else fields.completion_tokens
    consumed_tokens, produced_tokens = _count(consumed), _count(0 if produced is None else produced)
    if consumed_tokens is None or produced_tokens is None:
        return None
    if _tells_no_parts(fields):
        return Usage(consumed_tokens, produced_tokens)
    return _with_parts(fields, consumed_tokens, produced_tokens)


def _tells_no_parts(fields: _UsageFields) -> bool:
    return not (
        fields.prompt_tokens_details is not _ABSENT
        or fields.completion_tokens_details is not _ABSENT
        or fields.input_tokens_details is not _ABSENT
        or fields.output_tokens_details is not _ABSENT
        or fields.prompt_cache_hit_tokens is not None
        or fields.cached_tokens is not None
    )


def _with_parts(fields: _UsageFields, consumed: int, produced: int) -> Usage:
    of_input = _details_of(fields.prompt_tokens_details, fields.input_tokens_details)
    of_output = _details_of(fields.completion_tokens_details, fields.output_tokens_details)
    reasoning = _count(of_output.reasoning_tokens) or 0
    if reasoning and fields.total_tokens == consumed + produced + reasoning:
        produced += reasoning  # xAI counts reasoning beside the completion, all others within it
    cached = of_input.cached_tokens or fields.prompt_cache_hit_tokens or fields.cached_tokens
    return Usage(
        consumed,
        produced,
        cached_input_tokens=_part(cached, consumed),
        cache_write_tokens=_part(of_input.cache_write_tokens, consumed),
        audio_input_tokens=_part(of_input.audio_tokens, consumed),
        image_input_tokens=_part(of_input.image_tokens, consumed),
        reasoning_tokens=_part(reasoning, produced),
        audio_output_tokens=_part(of_output.audio_tokens, produced),
        image_output_tokens=_part(of_output.image_tokens, produced),
    )


def _details_of(*told: msgspec.Raw) -> _DetailFields:
    given = next((raw for raw in told if bytes(raw)), None)
    if given is None:
        return _NO_DETAILS
    try:
        return _details.decode(given)
    except NOT_JSON:
        return _NO_DETAILS


def _part(count: object, whole: int) -> int:
    part = _count(count)
    return part if part is not None and part <= whole else 0


def _count(count: object) -> int | None:
    # `type` and not `isinstance`: true and false are no counts.
    return count if type(count) is int and 0 <= count <= MAX_TOKENS_OF_ONE_ANSWER else None


def label(value: object, mask: Mask) -> str | None:
    """Accept a short printable text that may be logged: a name, not a message, and not the key."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_LABEL_CHARS:
        return None
    return value if value.isprintable() and not mask.occurs_in(value) else None

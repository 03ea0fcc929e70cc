"""Answers in OpenAI's dialect, deterministic: the same call gets the same words, another prompt others.

Every word is three letters and a space, four bytes, so that a text of n tokens counts as n tokens.
"""

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import numpy as np

from apikeyrouter.interfaces.scripted_provider.asks import BYTES_PER_TOKEN, Ask, tokens_in
from apikeyrouter.interfaces.scripted_provider.schemas import example_of

WORDS = (
    "the sun was low and one old man sat out far off the bay ice cap his net lay dry his dog did not bark "
    "now and may run for any bit you put out yet all day big red hen fed her own six who ran too far for "
    "fun but got her way ere her kin ate pie and jam with tea"
)
CYCLE = [word + " " for word in WORDS.split() if len(word) == 3]
FINGERPRINT = "fp_scripted"

encode = msgspec.json.encode


class Piece(NamedTuple):
    """Bytes that are sent together, and how many output tokens they bring."""

    data: bytes
    tokens: int = 0


class Manner(NamedTuple):
    """How an answer speaks of itself: usage literals in place of the counts, none at all, an echo."""

    with_usage: bool = True
    usage_literal: bytes | None = None
    echo: str = ""


class Said(NamedTuple):
    """What one choice says: text, or the arguments of a tool call."""

    text: str
    tokens: int
    finish_reason: str
    tool_name: str | None = None


class Tag(NamedTuple):
    """What marks one answer: its number and when it was made."""

    number: int
    created_s: int


class Answer(NamedTuple):
    """A whole body in one piece, or the events of a stream."""

    content_type: bytes
    pieces: list[Piece]


@lru_cache(maxsize=4096)
def words(start: int, tokens: int) -> str:
    """Return a text of that many tokens."""
    around = CYCLE[start:] + CYCLE[:start]
    turns, rest = divmod(tokens, len(CYCLE))
    return "".join(around) * turns + "".join(around[:rest])


def says(ask: Ask, default_tokens: int, echo: str = "") -> Said:
    """Decide what every choice of an answer says."""
    bound = min(ask.output_tokens_asked or default_tokens, default_tokens)
    if ask.tool is None and ask.schema is None and not echo:
        cut = ask.output_tokens_asked is not None and ask.output_tokens_asked < default_tokens
        return Said(words(ask.prompt % len(CYCLE), bound), bound, "length" if cut else "stop")
    return bounded(special_text(ask, echo), ask, bound)


def special_text(ask: Ask, echo: str) -> str:
    """Return the text that a tool, a schema or an echo asks for."""
    if ask.tool is not None:
        return encode(example_of(ask.tool.parameters or {"type": "object"})).decode()
    if ask.schema is not None:
        return encode(example_of(ask.schema)).decode()
    return f"You sent {echo} "


def bounded(text: str, ask: Ask, bound: int) -> Said:
    """Cut a text to the tokens that were asked for; without such a wish it is said whole."""
    name = ask.tool.name if ask.tool else None
    tokens = tokens_in(text.encode())
    if ask.output_tokens_asked is not None and tokens > bound:
        return Said(text.encode()[: bound * BYTES_PER_TOKEN].decode(errors="ignore"), bound, "length", name)
    return Said(text, tokens, "tool_calls" if name else "stop", name)


def spoken(said: Said, tokens_per_event: int) -> Iterator[tuple[str, int]]:
    """Split what is said into the deltas of a stream, with the tokens of each."""
    size = tokens_per_event * BYTES_PER_TOKEN
    left = said.tokens
    for start in range(0, len(said.text), size):
        tokens = left if start + size >= len(said.text) else min(left, tokens_per_event)
        left -= tokens
        yield said.text[start : start + size], tokens


CHAT_USAGE = (
    b'{"prompt_tokens":%b,"completion_tokens":%b,"total_tokens":%b,'
    b'"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},'
    b'"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,'
    b'"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}'
)
RESPONSES_USAGE = (
    b'{"input_tokens":%b,"input_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},'
    b'"output_tokens":%b,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":%b}'
)
EMBEDDINGS_USAGE = b'{"prompt_tokens":%b,"total_tokens":%b}'


def usage_of(template: bytes, manner: Manner, *counts: int) -> dict[str, msgspec.Raw]:
    """Return the usage as a field of a body, or nothing where it is to be missing."""
    if not manner.with_usage:
        return {}
    literals = tuple(manner.usage_literal or b"%d" % count for count in counts)
    return {"usage": msgspec.Raw(template % literals)}


class Form(NamedTuple):
    """Where chat and text completions differ."""

    id_prefix: str
    whole: str
    event: str
    choice: Callable[[Said], dict[str, Any]]
    opening: Callable[[Said], dict[str, Any] | None]
    delta: Callable[[Said, str], dict[str, Any]]
    closing: dict[str, Any]


def tool_call(said: Said, arguments: str) -> dict[str, Any]:
    """Write a tool call of the chat API."""
    return {
        "id": "call_scripted",
        "type": "function",
        "function": {"name": said.tool_name, "arguments": arguments},
    }


def chat_choice(said: Said) -> dict[str, Any]:
    """Write the message of a whole chat answer."""
    message: dict[str, Any] = {"role": "assistant", "content": said.text, "refusal": None, "annotations": []}
    if said.tool_name is not None:
        message |= {"content": None, "tool_calls": [tool_call(said, said.text)]}
    return {"message": message}


def chat_opening(said: Said) -> dict[str, Any]:
    """Write the delta that opens a chat stream."""
    if said.tool_name is None:
        return {"delta": {"role": "assistant", "content": "", "refusal": None}}
    call = {"index": 0, **tool_call(said, "")}
    return {"delta": {"role": "assistant", "content": None, "tool_calls": [call], "refusal": None}}


def chat_delta(said: Said, text: str) -> dict[str, Any]:
    """Write a delta that carries text or arguments."""
    if said.tool_name is None:
        return {"delta": {"content": text}}
    return {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}}


CHAT = Form(
    "chatcmpl",
    "chat.completion",
    "chat.completion.chunk",
    chat_choice,
    chat_opening,
    chat_delta,
    {"delta": {}},
)
TEXT = Form(
    "cmpl",
    "text_completion",
    "text_completion",
    lambda said: {"text": said.text},
    lambda _: None,
    lambda _, text: {"text": text},
    {"text": ""},
)


def envelope(form: Form, ask: Ask, tag: Tag, kind: str) -> dict[str, Any]:
    """Write what every body of an answer begins with."""
    return {
        "id": f"{form.id_prefix}-scripted-{tag.number}",
        "object": kind,
        "created": tag.created_s,
        "model": ask.model,
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    }


def whole_completion(form: Form, ask: Ask, tag: Tag, said: Said, manner: Manner) -> Piece:
    """Write a whole answer."""
    output = said.tokens * ask.choices
    choice = form.choice(said) | {"logprobs": None, "finish_reason": said.finish_reason}
    body = envelope(form, ask, tag, form.whole)
    body["choices"] = [{"index": index, **choice} for index in range(ask.choices)]
    body |= usage_of(CHAT_USAGE, manner, ask.input_tokens, output, ask.input_tokens + output)
    return Piece(encode(body), output)


def streamed_completion(
    form: Form, ask: Ask, tag: Tag, said: Said, manner: Manner, tokens_per_event: int
) -> Iterator[Piece]:
    """Write an answer as events: an opening, the deltas, the finish, the usage if wished, and the end."""
    with_usage = ask.include_usage and manner.with_usage
    head = encode(envelope(form, ask, tag, form.event))[:-1] + b',"choices":'
    tail = b',"usage":null}' if with_usage else b"}"

    def event(
        index: int, content: dict[str, Any], tokens: int = 0, finish_reason: str | None = None
    ) -> Piece:
        choice = {"index": index, **content, "logprobs": None, "finish_reason": finish_reason}
        return Piece(b"data: " + head + encode([choice]) + tail + b"\n\n", tokens)

    for index in range(ask.choices):
        if opening := form.opening(said):
            yield event(index, opening)
        for text, tokens in spoken(said, tokens_per_event):
            yield event(index, form.delta(said, text), tokens)
        yield event(index, form.closing, 0, said.finish_reason)
    if with_usage:
        output = said.tokens * ask.choices
        usage = usage_of(CHAT_USAGE, manner, ask.input_tokens, output, ask.input_tokens + output)
        yield Piece(b"data: " + head + b"[]," + encode(usage)[1:] + b"\n\n")
    yield DONE


DONE = Piece(b"data: [DONE]\n\n")


def vector_of(text: bytes, dimensions: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return a unit vector that depends on the text alone."""
    drawn = np.frombuffer(hashlib.shake_128(text).digest(2 * dimensions), dtype="<i2").astype(
        "<f4"
    ) + np.float32(0.5)
    return (drawn / np.linalg.norm(drawn)).astype("<f4")


def embedding(text: bytes, dimensions: int, *, as_base64: bool) -> str | list[float]:
    """Write a vector as it was asked for."""
    vector = vector_of(text, dimensions)
    return base64.b64encode(vector.tobytes()).decode() if as_base64 else [float(one) for one in vector]


def embeddings(ask: Ask, default_dimensions: int, manner: Manner) -> Piece:
    """Write the vectors of all inputs."""
    dimensions = ask.dimensions or default_dimensions
    vectors = [embedding(text, dimensions, as_base64=ask.as_base64) for text in ask.inputs]
    body: dict[str, Any] = {
        "object": "list",
        "data": [{"object": "embedding", "index": i, "embedding": one} for i, one in enumerate(vectors)],
        "model": ask.model,
    }
    body |= usage_of(EMBEDDINGS_USAGE, manner, ask.input_tokens, ask.input_tokens)
    return Piece(encode(body))


def models(names: Iterable[str]) -> Piece:
    """Write the list of models."""
    data = [{"id": name, "object": "model", "created": 0, "owned_by": "scripted"} for name in names]
    return Piece(encode({"object": "list", "data": data}))

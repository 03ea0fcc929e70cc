"""Parse request bodies of OpenAI's dialect: what routing needs, strictly, and nothing else.

JSON parsers disagree on duplicate names, NaN, lone surrogates and invalid UTF-8. What we route by must be
what the upstream reads, so such bodies are refused. Everything that is not read here passes through.
"""

import json
from typing import Any, NoReturn, TypeVar

import msgspec

from apikeyrouter.application.intake import MOST_CHOICES, MOST_TOKENS, Wish, address, order
from apikeyrouter.application.origin import Origin
from apikeyrouter.application.passage import Order
from apikeyrouter.domain.events import Policy
from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.domain.state import RouterState

LONGEST_MODEL_NAME = 256


class StreamOptions(msgspec.Struct):
    """The part of `stream_options` that we act on."""

    include_usage: bool | None = None


class ChatBody(msgspec.Struct):
    """`POST /v1/chat/completions`."""

    model: str
    messages: list[msgspec.Raw]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    tools: list[msgspec.Raw] | None = None


class EmbeddingsBody(msgspec.Struct):
    """`POST /v1/embeddings`."""

    model: str
    input: str | list[msgspec.Raw]


Body = TypeVar("Body", ChatBody, EmbeddingsBody)

_decode_chat = msgspec.json.Decoder(ChatBody).decode
_decode_embeddings = msgspec.json.Decoder(EmbeddingsBody).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Caller(msgspec.Struct, frozen=True):
    """What the headers of a request say: what it is to be routed by, and whom it is from."""

    policy: Policy
    correlation_id: str | None
    origin: Origin


class Asked(msgspec.Struct, frozen=True):
    """An order, and what its answer must look like."""

    order: Order
    stream: bool
    wants_usage: bool


def parse_chat(raw: bytes, state: RouterState, caller: Caller) -> Asked:
    """Read a chat request, or raise `InvalidRequestError` that says what is wrong."""
    body = _strictly(_decode_chat, raw)
    _check_chat(body)
    provider_id, model = address(state, _checked_model(body.model))
    stream = bool(body.stream)
    wants_usage = body.stream_options is not None and body.stream_options.include_usage is True
    changes: dict[str, Any] = {} if model == body.model else {"model": model}
    if stream and not wants_usage:
        changes["stream_options"] = {"include_usage": True}
    wish = Wish(
        operation="chat",
        model=model,
        provider_id=provider_id,
        stream=stream,
        needs=("tools",) if body.tools else (),
        output_tokens_bound=max(body.max_completion_tokens or 0, body.max_tokens or 0) * (body.n or 1),
        choices=body.n or 1,
        correlation_id=caller.correlation_id,
        origin=caller.origin,
    )
    return Asked(order(wish, caller.policy, _changed(raw, changes)), stream, wants_usage)


def parse_embeddings(raw: bytes, state: RouterState, caller: Caller) -> Asked:
    """Read an embeddings request, or raise `InvalidRequestError` that says what is wrong."""
    body = _strictly(_decode_embeddings, raw)
    provider_id, model = address(state, _checked_model(body.model))
    changes = {} if model == body.model else {"model": model}
    wish = Wish(
        operation="embeddings",
        model=model,
        provider_id=provider_id,
        correlation_id=caller.correlation_id,
        origin=caller.origin,
    )
    return Asked(order(wish, caller.policy, _changed(raw, changes)), stream=False, wants_usage=False)


def _strictly(decode: Any, raw: bytes) -> Any:
    try:
        body = decode(raw)
        if not _comes_out_as_it_went_in(raw):
            json.loads(raw.decode(), object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
    except InvalidRequestError:
        raise
    except msgspec.ValidationError as error:
        raise InvalidRequestError(
            f"the request body does not fit: {_path(error)}", param=_param(error)
        ) from None
    except RecursionError:
        raise InvalidRequestError("the request body is nested too deeply") from None
    except UnicodeDecodeError:
        raise InvalidRequestError("the request body is not valid UTF-8") from None
    except ValueError:
        raise InvalidRequestError("the request body is not valid JSON") from None
    return body


def _comes_out_as_it_went_in(raw: bytes) -> bool:
    """Tell if decoding and encoding gives the same bytes: then no name stands twice and all text is sound.

    That is so for the compact JSON of most clients, and four times cheaper than looking at every name.
    """
    return msgspec.json.encode(msgspec.json.decode(raw)) == raw


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidRequestError(
            f"the name {twice[:64]!r} occurs twice in one JSON object", param=twice[:64]
        )
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidRequestError(f"{name} is not a JSON value")


def _path(error: msgspec.ValidationError) -> str:
    return str(error)[:300].replace("`", "'")


def _param(error: msgspec.ValidationError) -> str | None:
    text = str(error)
    if "required field" in text:
        return text.rsplit("`", 2)[1]
    _, found, path = text.rpartition("`$.")
    return path.rstrip("`") if found else None


def _check_chat(body: ChatBody) -> None:
    if not body.messages:
        raise InvalidRequestError("messages must hold at least one message", param="messages")
    for name, most in _COUNTS:
        value = getattr(body, name)
        if value is not None and not 0 < value <= most:
            raise InvalidRequestError(f"{name} must be a whole number from 1 to {most:,}", param=name)


_COUNTS = (("max_tokens", MOST_TOKENS), ("max_completion_tokens", MOST_TOKENS), ("n", MOST_CHOICES))


def _checked_model(model: str) -> str:
    if not model or len(model) > LONGEST_MODEL_NAME or not model.isprintable():
        raise InvalidRequestError(
            f"model must be 1 to {LONGEST_MODEL_NAME} printable characters", param="model"
        )
    return model


def _changed(raw: bytes, changes: dict[str, Any]) -> bytes:
    if not changes:
        return raw
    return msgspec.json.encode({**_decode_fields(raw), **changes})

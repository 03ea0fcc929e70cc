"""From what is asked to what will be delivered: the words in the operation's form, whole or as a stream."""

from collections.abc import Iterable
from typing import NamedTuple

from apikeyrouter.interfaces.scripted_provider.answers import (
    CHAT,
    TEXT,
    Form,
    Manner,
    Said,
    Tag,
    embeddings,
    models,
    says,
    streamed_completion,
    whole_completion,
)
from apikeyrouter.interfaces.scripted_provider.asks import Ask
from apikeyrouter.interfaces.scripted_provider.delivery import Delivery, streamed, whole
from apikeyrouter.interfaces.scripted_provider.responses import streamed_response, whole_response


class Sizes(NamedTuple):
    """How long answers and vectors are where the call does not say, and the pace of a stream."""

    output_tokens: int
    dimensions: int
    tokens_per_event: int
    token_s: float


def tokens_for(ask: Ask, sizes: Sizes) -> int:
    """Return the tokens that a call will use, in and out; they are known before it is answered."""
    if ask.operation in {"models", "embeddings"}:
        return ask.input_tokens
    return ask.input_tokens + says(ask, sizes.output_tokens).tokens * ask.choices


def compose(ask: Ask, tag: Tag, manner: Manner, sizes: Sizes, served: Iterable[str]) -> Delivery:
    """Compose the answer to a call."""
    if ask.operation == "models":
        return whole(models(served), 0, 0)
    if ask.operation == "embeddings":
        return whole(embeddings(ask, sizes.dimensions, manner), ask.input_tokens, sizes.token_s)
    said = says(ask, sizes.output_tokens, manner.echo)
    if ask.operation == "responses":
        return response(ask, tag, said, manner, sizes)
    return completion(CHAT if ask.operation == "chat" else TEXT, ask, tag, said, manner, sizes)


def response(ask: Ask, tag: Tag, said: Said, manner: Manner, sizes: Sizes) -> Delivery:
    """Compose an answer of the Responses API."""
    if not ask.stream:
        return whole(whole_response(ask, tag, said, manner), ask.input_tokens, sizes.token_s)
    pieces = streamed_response(ask, tag, said, manner, sizes.tokens_per_event)
    return streamed(pieces, ask.input_tokens, sizes.token_s)


def completion(form: Form, ask: Ask, tag: Tag, said: Said, manner: Manner, sizes: Sizes) -> Delivery:
    """Compose a chat or text completion."""
    if not ask.stream:
        return whole(whole_completion(form, ask, tag, said, manner), ask.input_tokens, sizes.token_s)
    pieces = streamed_completion(form, ask, tag, said, manner, sizes.tokens_per_event)
    return streamed(pieces, ask.input_tokens, sizes.token_s)

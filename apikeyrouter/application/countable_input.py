"""The texts of a request that its input can be counted from, where it has nothing but texts.

Chat templates frame every message by three tokens and a name by one more, and three open the answer
(github.com/openai/openai-cookbook, "How to count tokens with Tiktoken"). What is rendered in ways that are
not published (tools, schemas, pictures, earlier calls), or only named, makes a request uncountable.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

TOKENS_A_MESSAGE: Final = 3
TOKENS_A_NAME: Final = 1
TOKENS_BEFORE_THE_ANSWER: Final = 3

_RENDERED: Final = frozenset(
    {
        *("tools", "functions", "response_format", "prediction", "web_search_options", "audio"),
        *("previous_response_id", "conversation", "prompt"),
    }
)

CountTokens = Callable[[str, Sequence[str]], int | None]
"""Count texts as a model reads them; None where its vocabulary is not known."""


class Countable(NamedTuple):
    """Texts to be counted, and the tokens that are known without."""

    texts: list[str]
    tokens: int


class _Text(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="text"):
    text: str


class _Message(msgspec.Struct, forbid_unknown_fields=True):
    role: str
    content: str | tuple[_Text, ...]
    name: str | None = None


_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_messages = msgspec.json.Decoder(tuple[_Message, ...]).decode
_decode_inputs = msgspec.json.Decoder(str | tuple[str | int | tuple[int, ...], ...]).decode


def countable(operation: str, body: bytes) -> Countable | None:
    """Take the texts out of a body, or return None where it has more than these."""
    try:
        fields = _decode_fields(body)
        if operation == "embeddings":
            return _of_inputs(_decode_inputs(fields["input"]))
        if operation != "chat" or not _RENDERED.isdisjoint(fields):
            return None
        return _of_messages(_decode_messages(fields["messages"]))
    except (KeyError, msgspec.DecodeError, RecursionError):
        return None


def _of_messages(messages: tuple[_Message, ...]) -> Countable:
    texts, tokens = [], TOKENS_BEFORE_THE_ANSWER
    for message in messages:
        tokens += TOKENS_A_MESSAGE
        texts.append(message.role)
        if isinstance(message.content, str):
            texts.append(message.content)
        else:
            texts += [part.text for part in message.content]
        if message.name is not None:
            texts.append(message.name)
            tokens += TOKENS_A_NAME
    return Countable(texts, tokens)


def _of_inputs(inputs: str | tuple[str | int | tuple[int, ...], ...]) -> Countable:
    """Take the texts of an embedding; who sends tokens has counted them."""
    if isinstance(inputs, str):
        return Countable([inputs], 0)
    texts = [each for each in inputs if isinstance(each, str)]
    tokens = [len(each) if isinstance(each, tuple) else 1 for each in inputs if not isinstance(each, str)]
    return Countable(texts, sum(tokens))

"""What a provider may count as input beside the bytes of a body, so that the bound of a cost holds.

A body of n bytes makes at most n tokens in any byte-level tokenizer, and the JSON around each message and
each text of an embedding has more bytes than the markers that are put there have tokens. Beside that there is

- what a chat template says of itself before the first message: some 70 tokens in the harmony format of
  gpt-oss (developers.openai.com/cookbook/articles/openai-harmony), fewer elsewhere;
- what a model is told of its tools, up to 530 tokens with the models of Anthropic (platform.claude.com,
  "Tool use", pricing);
- pictures, which are counted by their pixels, however few bytes they have. The most that one can come to is
  2,833 and 5,667 for each of eight tiles, with gpt-4o-mini (developers.openai.com, "Images and vision",
  calculating costs: a picture is made to fit into 2,048 by 768, tiles have 512 by 512);
- what a body only names, or holds packed: files, whose text and pages are put into the context
  (developers.openai.com, "File inputs"), video, earlier answers and conversations, stored prompts, and what
  tools find that run at the provider, such as search and code. All that ends at the context window of the
  model, of which the largest that is widely served has 2,097,152 tokens. So does whatever is not known here.

Sound that comes with the body needs no allowance: a token is a tenth of a second of it, for which every
codec has more bytes (developers.openai.com, "Managing costs" of the Realtime API).

Not bounded are fees for calls of a provider's own tools, which are no tokens; the rounds of such tools within
one request, where a provider counts its input anew in each; instructions that embedding models put before a
text; and whatever a provider counts without telling in its documentation.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

TEMPLATE_TOKENS: Final = 128
TOOLS_TOKENS: Final = 1_024
PICTURE_TOKENS: Final = 2_833 + 8 * 5_667
LARGEST_CONTEXT_TOKENS: Final = 2_097_152

WITHOUT_TEMPLATE: Final = frozenset({"embeddings", "completions", "completion"})
RUN_BY_THE_CALLER: Final = frozenset({"function", "custom"})
PICTURES: Final = frozenset({"image_url", "input_image", "image"})
SOUND: Final = frozenset({"input_audio"})
KNOWN: Final = frozenset(
    {
        *("text", "input_text", "output_text", "refusal", "thinking", "reasoning"),
        *("tool_use", "tool_result", "function_call", "function_call_output"),
        *PICTURES,
        *SOUND,
    }
)

_ABSENT: Final = msgspec.Raw()
_NULL: Final = msgspec.Raw(b"null")


class _Tool(msgspec.Struct):
    type: str = ""
    name: msgspec.Raw = _ABSENT

    @property
    def runs_at_the_provider(self) -> bool:
        return self.type not in RUN_BY_THE_CALLER if self.type else self.name == _ABSENT


class _Part(msgspec.Struct):
    type: str = ""
    role: str = ""
    content: msgspec.Raw = _ABSENT
    output: msgspec.Raw = _ABSENT


class _Message(msgspec.Struct):
    content: msgspec.Raw = _ABSENT
    output: msgspec.Raw = _ABSENT
    audio: msgspec.Raw = _ABSENT


class _Body(msgspec.Struct):
    messages: tuple[_Message, ...] = ()
    input: msgspec.Raw = _ABSENT
    prompt: msgspec.Raw = _ABSENT
    tools: tuple[_Tool, ...] | None = None
    functions: tuple[msgspec.Raw, ...] | None = None
    web_search_options: msgspec.Raw = _ABSENT
    previous_response_id: msgspec.Raw = _ABSENT
    conversation: msgspec.Raw = _ABSENT

    @property
    def draws_on_others(self) -> bool:
        return (
            _is_given(self.web_search_options)
            or _is_given(self.previous_response_id)
            or _is_given(self.conversation)
            or _begins(self.prompt, b"{")
            or any(_is_given(message.audio) for message in self.messages)
            or any(tool.runs_at_the_provider for tool in self.tools or ())
        )


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_parts = msgspec.json.Decoder(tuple[_Part | str | int | tuple[int, ...], ...]).decode


class _Text(msgspec.Struct, gc=False):
    content: str | None = None
    output: str | None = None
    audio: None = None


class _TextsAlone(msgspec.Struct, gc=False):
    """A chat as most are: whatever could be counted by another measure is absent or null."""

    messages: list[_Text]
    input: None = None
    prompt: None = None
    tools: None = None
    functions: None = None
    web_search_options: None = None
    previous_response_id: None = None
    conversation: None = None


_decode_texts = msgspec.json.Decoder(_TextsAlone).decode


class Allowance(msgspec.Struct, frozen=True, gc=False):
    """What may be counted beside the bytes of a body, in tokens, and the abilities that it shows a need of.

    `is_open` tells that only the context window of the model bounds the input.
    """

    needs: tuple[str, ...]
    tokens: int
    is_open: bool

    def bound(self, body_bytes: int) -> int:
        """Bound the input of a request with a body of so many bytes, in tokens."""
        bound = body_bytes + self.tokens
        return max(bound, LARGEST_CONTEXT_TOKENS) if self.is_open else bound


def allowance_for(operation: str, body: bytes) -> Allowance:
    """Look through a body for what is counted by another measure than its bytes; about as dear as a parse."""
    if operation == "chat" and _has_texts_alone(body):
        return _OF_TEXTS
    return look_through(operation, body)


def _has_texts_alone(body: bytes) -> bool:
    try:
        _decode_texts(body)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def look_through(operation: str, body: bytes) -> Allowance:
    """Return the allowance for any body, however rich."""
    try:
        parsed = _decode_body(body)
        kinds = [kind for one in parsed.messages for kind in (*_kinds(one.content), *_kinds(one.output))]
        if operation != "embeddings" or b'"type"' in body:
            kinds += _kinds(parsed.input)
    except (msgspec.DecodeError, RecursionError):
        # Nobody can tell what a provider would make of it, if it takes it at all.
        return Allowance((), TOOLS_TOKENS, is_open=True)
    return _allowance(operation, parsed, kinds)


_OF_TEXTS: Final = Allowance((), TEMPLATE_TOKENS, is_open=False)


def _allowance(operation: str, parsed: _Body, kinds: list[str]) -> Allowance:
    tokens = 0 if operation in WITHOUT_TEMPLATE else TEMPLATE_TOKENS
    if parsed.tools or parsed.functions:
        tokens += TOOLS_TOKENS
    if not kinds:
        return Allowance((), tokens, parsed.draws_on_others)
    pictures = sum(kind in PICTURES for kind in kinds)
    needs: tuple[str, ...] = ("vision",) if pictures else ()
    if any(kind in SOUND for kind in kinds):
        needs += ("audio",)
    is_open = parsed.draws_on_others or any(kind not in KNOWN for kind in kinds)
    return Allowance(needs, tokens + pictures * PICTURE_TOKENS, is_open)


def _kinds(content: msgspec.Raw) -> Iterator[str]:
    """Name the kind of each part, and of parts within parts; a text alone has none, nor has a message."""
    if not _begins(content, b"["):
        return
    for part in _decode_parts(content):
        if isinstance(part, _Part):
            if not part.role:
                yield part.type
            yield from _kinds(part.content)
            yield from _kinds(part.output)


def _is_given(raw: msgspec.Raw) -> bool:
    return raw is not _ABSENT and raw != _NULL


def _begins(raw: msgspec.Raw, sign: bytes) -> bool:
    return raw is not _ABSENT and memoryview(raw)[:1] == sign

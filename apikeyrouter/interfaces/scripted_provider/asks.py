"""What a call asks for: request bodies in OpenAI's dialect, read into one shape with counted tokens."""

import zlib
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import msgspec

from apikeyrouter.interfaces.scripted_provider.refusals import RefusedError, bad_request

BYTES_PER_TOKEN = 4
IMAGE_TOKENS = 85  # what OpenAI counts for an image in low detail
MOST_CHOICES = 16

Positive = Annotated[int, msgspec.Meta(ge=1)]
Choices = Annotated[int, msgspec.Meta(ge=1, le=MOST_CHOICES)]
TokenIds = list[int]


class Tool(msgspec.Struct, frozen=True):
    """A function that the answer shall call."""

    name: str
    parameters: Any = None


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One call, whatever its operation. `prompt` is a checksum: another prompt gets another answer.

    `user` is whom the caller says it asks for.
    """

    operation: str
    model: str = ""
    user: str | None = None
    input_tokens: int = 0
    output_tokens_asked: int | None = None
    prompt: int = 0
    choices: int = 1
    stream: bool = False
    include_usage: bool = False
    tool: Tool | None = None
    schema: Any = None
    inputs: tuple[bytes, ...] = ()
    dimensions: int | None = None
    as_base64: bool = False


class Part(msgspec.Struct):
    """A part of a message: text, an image, or something that counts nothing."""

    type: str = "text"
    text: str | None = None


class Message(msgspec.Struct):
    """A message, or an item of the Responses API."""

    role: str | None = None
    content: str | list[Part] | None = None
    output: str | list[Part] | None = None


class ChatTool(msgspec.Struct):
    """A tool as the chat API nests it."""

    type: str = "function"
    function: Tool | None = None


class StreamOptions(msgspec.Struct):
    """Options of a stream."""

    include_usage: bool | None = None


class ToolChoice(msgspec.Struct):
    """A tool choice that names its function, nested by the chat API, flat by the Responses API."""

    type: str = "function"
    name: str | None = None
    function: Tool | None = None


class JsonSchema(msgspec.Struct):
    """A schema as the chat API nests it."""

    schema: Any = None


class Format(msgspec.Struct):
    """The form of an answer, nested by the chat API, flat by the Responses API."""

    type: str = "text"
    json_schema: JsonSchema | None = None
    schema: Any = None


class TextOptions(msgspec.Struct):
    """Options of the text in the Responses API."""

    format: Format | None = None


class ChatRequest(msgspec.Struct, kw_only=True):
    """POST /v1/chat/completions."""

    model: str
    user: str | None = None
    messages: Annotated[list[Message], msgspec.Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None
    n: Choices | None = None
    tools: list[ChatTool] | None = None
    tool_choice: str | ToolChoice | None = None
    response_format: Format | None = None


class CompletionRequest(msgspec.Struct, kw_only=True):
    """POST /v1/completions."""

    model: str
    user: str | None = None
    prompt: str | list[str | int | TokenIds] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Positive | None = None
    n: Choices | None = None


class EmbeddingsRequest(msgspec.Struct, kw_only=True):
    """POST /v1/embeddings."""

    model: str
    user: str | None = None
    input: str | Annotated[list[str | int | TokenIds], msgspec.Meta(min_length=1)]
    dimensions: Annotated[int, msgspec.Meta(ge=1, le=4096)] | None = None
    encoding_format: str | None = None


class ResponsesTool(msgspec.Struct):
    """A tool as the Responses API has it, flat."""

    type: str
    name: str = ""
    parameters: Any = None


class ResponsesRequest(msgspec.Struct, kw_only=True):
    """POST /v1/responses."""

    model: str
    user: str | None = None
    input: str | list[Message]
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: Positive | None = None
    tools: list[ResponsesTool] | None = None
    tool_choice: str | ToolChoice | None = None
    text: TextOptions | None = None


def read_chat(body: bytes) -> Ask:
    """Read a chat completion request."""
    request = CHAT.decode(body)
    text, images = text_of(request.messages)
    tools = [tool.function for tool in request.tools or [] if tool.function is not None]
    return Ask(
        operation="chat",
        model=request.model,
        user=request.user,
        input_tokens=tokens_in(text) + images * IMAGE_TOKENS,
        output_tokens_asked=request.max_completion_tokens or request.max_tokens,
        prompt=zlib.crc32(text),
        choices=request.n or 1,
        stream=bool(request.stream),
        include_usage=wants_usage(request.stream_options),
        tool=chosen_tool(tools, request.tool_choice),
        schema=schema_in(request.response_format),
    )


def read_completion(body: bytes) -> Ask:
    """Read a text completion request."""
    request = COMPLETION.decode(body)
    inputs = inputs_of(request.prompt if request.prompt is not None else "")
    return Ask(
        operation="completion",
        model=request.model,
        user=request.user,
        input_tokens=tokens_in(b"".join(inputs)),
        output_tokens_asked=request.max_tokens,
        prompt=zlib.crc32(b"".join(inputs)),
        choices=(request.n or 1) * len(inputs),
        stream=bool(request.stream),
        include_usage=wants_usage(request.stream_options),
    )


def read_embeddings(body: bytes) -> Ask:
    """Read an embeddings request."""
    request = EMBEDDINGS.decode(body)
    inputs = inputs_of(request.input)
    return Ask(
        operation="embeddings",
        model=request.model,
        user=request.user,
        input_tokens=tokens_in(b"".join(inputs)),
        inputs=tuple(inputs),
        dimensions=request.dimensions,
        as_base64=request.encoding_format == "base64",
    )


def read_responses(body: bytes) -> Ask:
    """Read a request of the Responses API."""
    request = RESPONSES.decode(body)
    messages = [Message(content=request.input)] if isinstance(request.input, str) else request.input
    text, images = text_of([Message(content=request.instructions), *messages])
    tools = [Tool(tool.name, tool.parameters) for tool in request.tools or [] if tool.type == "function"]
    return Ask(
        operation="responses",
        model=request.model,
        user=request.user,
        input_tokens=tokens_in(text) + images * IMAGE_TOKENS,
        output_tokens_asked=request.max_output_tokens,
        prompt=zlib.crc32(text),
        stream=bool(request.stream),
        include_usage=True,
        tool=chosen_tool(tools, request.tool_choice),
        schema=schema_in(request.text.format if request.text else None),
    )


CHAT = msgspec.json.Decoder(ChatRequest)
COMPLETION = msgspec.json.Decoder(CompletionRequest)
EMBEDDINGS = msgspec.json.Decoder(EmbeddingsRequest)
RESPONSES = msgspec.json.Decoder(ResponsesRequest)

READERS: dict[str, Callable[[bytes], Ask]] = {
    "chat": read_chat,
    "completion": read_completion,
    "embeddings": read_embeddings,
    "responses": read_responses,
}


def read_ask(operation: str, body: bytes) -> Ask:
    """Read the body of an operation; raise `RefusedError` with OpenAI's 400 where it is wrong."""
    reader = READERS.get(operation)
    if reader is None:
        return Ask(operation=operation)
    try:
        return reader(body)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise RefusedError(bad_request(f"The body cannot be read: {error}")) from None


def text_of(messages: Iterable[Message]) -> tuple[bytes, int]:
    """Return the text of all messages as UTF-8, and how many images they hold."""
    texts: list[str] = []
    images = 0
    for message in messages:
        for content in (message.content, message.output):
            if isinstance(content, str):
                texts.append(content)
            elif content:
                texts += [part.text for part in content if part.text]
                images += sum(part.type in {"image_url", "input_image"} for part in content)
    return "".join(texts).encode(), images


def tokens_in(text: bytes) -> int:
    """Count tokens: four bytes of UTF-8 are one, and what is left over is one more."""
    return -(-len(text) // BYTES_PER_TOKEN)


def inputs_of(given: str | list[str | int | TokenIds]) -> list[bytes]:
    """Return the inputs as bytes; a token id stands for four bytes, so that it counts as one token."""
    if isinstance(given, str):
        return [given.encode()]
    ids = [one for one in given if isinstance(one, int)]
    if len(ids) == len(given):
        return [bytes_of_ids(ids)]
    return [one.encode() if isinstance(one, str) else bytes_of_ids(one) for one in given]


def bytes_of_ids(ids: int | TokenIds) -> bytes:
    """Return four bytes for each token id."""
    return b"".join(b"%04x" % (one & 0xFFFF) for one in ([ids] if isinstance(ids, int) else ids))


def wants_usage(options: StreamOptions | None) -> bool:
    """Tell whether a stream shall end with its usage."""
    return bool(options and options.include_usage)


def chosen_tool(tools: list[Tool], choice: str | ToolChoice | None) -> Tool | None:
    """Return the function that `tool_choice` asks for: by name, or the first if any is required."""
    if choice == "required" and tools:
        return tools[0]
    if not isinstance(choice, ToolChoice) or choice.type != "function":
        return None
    name = choice.name or (choice.function.name if choice.function else None)
    for tool in tools:
        if tool.name == name:
            return tool
    raise RefusedError(bad_request(f"tool_choice names {name!r}, which is not in tools.", "tool_choice"))


def schema_in(form: Format | None) -> Any:
    """Return the JSON schema that the answer shall fit; a bare object where any JSON will do."""
    if form is None or form.type not in {"json_object", "json_schema"}:
        return None
    schema = form.json_schema.schema if form.json_schema else form.schema
    return schema or {"type": "object"}

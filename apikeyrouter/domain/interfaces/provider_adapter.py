"""The provider port: a provider turns (call, key) into an answer, a stream, or a classified failure."""

from collections.abc import AsyncIterator
from typing import Protocol, runtime_checkable

import msgspec

from apikeyrouter.domain.events import ModelOffer
from apikeyrouter.domain.rate_limits import RateLimitReport


class ProviderDescription(msgspec.Struct, frozen=True, kw_only=True):
    """What the log remembers of a provider. No models listed means: any model may be asked for."""

    kind: str
    base_url: str | None = None
    models: tuple[ModelOffer, ...] = ()


class UpstreamCall(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One attempt. `body` is JSON in OpenAI's dialect; `deadline_us` bounds the whole attempt."""

    operation: str
    model: str
    body: bytes
    key_material: str
    deadline_us: int

    def __repr__(self) -> str:
        """Describe the call without the key and without the contents."""
        return (
            f"UpstreamCall(operation={self.operation!r}, model={self.model!r}, body={len(self.body)} bytes)"
        )


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens as the provider counted them: whole counts, and the parts of them that it tells apart.

    Cached, cache-writing, audio and image input are within the input; reasoning, audio and images that were
    made are within the output.
    """

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    audio_input_tokens: int = 0
    image_input_tokens: int = 0
    reasoning_tokens: int = 0
    audio_output_tokens: int = 0
    image_output_tokens: int = 0


class UpstreamAnswer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A whole answer in OpenAI's dialect. `usage` is None where the provider did not tell.

    `limits` is what the provider said of the key's limits beside the answer.
    """

    body: bytes
    usage: Usage | None = None
    model: str | None = None
    finish_reason: str | None = None
    upstream_request_id: str | None = None
    limits: tuple[RateLimitReport, ...] = ()


class UpstreamStream(Protocol):
    """A stream in OpenAI's dialect: server-sent events as bytes, whole events per chunk.

    It yields at least one chunk, or `open_stream` would have raised. The last chunk holds `[DONE]`.
    `usage`, `model` and `finish_reason` are what was seen so far; `limits` came with the head. Iteration
    raises `AttemptFailedError` when the stream breaks; `close` closes the upstream connection at once.

    It may have a method `relay(to)` as well: from then on, a chunk between the first and the last that tells
    nothing may be offered to `to` while the reader waits; if that returns True, the chunk is not yielded.
    """

    usage: Usage | None
    model: str | None
    finish_reason: str | None
    upstream_request_id: str | None
    limits: tuple[RateLimitReport, ...]

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield chunks of whole events."""

    def close(self) -> None:
        """Close the upstream connection at once; harmless when it is finished."""


@runtime_checkable
class ProviderAdapter(Protocol):
    """Implement this for a provider of your own.

    Every method raises `AttemptFailedError` with a classified failure, and nothing else.
    Cancelling a call closes its upstream connection.
    """

    def describe(self) -> ProviderDescription:
        """Tell kind, address and models, for the log."""

    async def execute(self, call: UpstreamCall) -> UpstreamAnswer:
        """Make one call and return the whole answer."""

    async def open_stream(self, call: UpstreamCall) -> UpstreamStream:
        """Make one streaming call; return once the first event is there."""

    async def close(self) -> None:
        """Give connections back."""

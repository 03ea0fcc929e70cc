"""A stream under way: chunks pass through, and the request is settled before the last one is let go."""

from collections.abc import AsyncIterable, AsyncIterator, Callable
from hashlib import sha256
from typing import NoReturn, Protocol

from apikeyrouter.application.passage import Passage
from apikeyrouter.application.refusals import provider_error
from apikeyrouter.domain.failures import AttemptFailedError, Failure
from apikeyrouter.domain.interfaces.provider_adapter import UpstreamStream, Usage
from apikeyrouter.domain.settlement import Outcome

LAST_EVENT = b"[DONE]"
LOOK_BACK = 24


class Line(Protocol):
    """The ends that a stream can come to."""

    async def settle(self, passage: Passage, outcome: Outcome) -> None:
        """Settle a stream that ended well."""

    async def break_off(
        self, passage: Passage, failure: Failure, usage: Usage | None, response_bytes: int
    ) -> None:
        """Settle a stream that broke."""

    def abandon(
        self, passage: Passage, error: BaseException, *, usage: Usage | None = None, response_bytes: int = 0
    ) -> None:
        """Settle a stream that nobody reads any more."""


class _Seen:
    """What came of a stream: how much, its digest, and what is held back because it may be the end."""

    __slots__ = ("digest", "held", "size_bytes")

    def __init__(self) -> None:
        self.digest = sha256()
        self.held = b""
        self.size_bytes = 0

    def add(self, chunk: bytes) -> None:
        self.digest.update(chunk)
        self.size_bytes += len(chunk)

    def release(self) -> bytes:
        held, self.held = self.held, b""
        return held


class RoutedStream:
    """The chunks of one streamed answer; iterate once, and close in any case.

    `settled` is true from the last chunk on.
    """

    def __init__(
        self, line: Line, passage: Passage, upstream: UpstreamStream, chunks: AsyncIterable[bytes]
    ) -> None:
        self._line = line
        self._passage = passage
        self._upstream = upstream
        self._chunks = chunks
        self._seen = _Seen()
        self.settled = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield chunks of whole events; raise `ProviderError` if the stream breaks."""
        seen, failure = self._seen, None
        try:
            try:
                async for chunk in self._chunks:
                    if seen.held:
                        yield seen.release()
                    seen.add(chunk)
                    if chunk.find(LAST_EVENT, -LOOK_BACK) >= 0:
                        seen.held = chunk
                    else:
                        yield chunk
            except AttemptFailedError as failed:
                failure = failed.failure
            if failure is None:
                await self._line.settle(self._passage, self._outcome())
                self.settled = True
            if seen.held:
                yield seen.release()
            if failure is not None:
                await self._break_off(failure)
        except BaseException as error:
            self._leave(error)
            raise

    def relay(self, to: Callable[[bytes], bool]) -> None:
        """Let the source hand chunks to `to` as they arrive, where it can; what that leaves alone is yielded.

        Most chunks of an answer concern nobody here: so no task is woken for them.
        """
        source_relay = getattr(self._chunks, "relay", None)
        if source_relay is None:
            return
        seen = self._seen

        def relayed(chunk: bytes) -> bool:
            if seen.held or not to(chunk):
                return False
            seen.add(chunk)
            return True

        source_relay(relayed)

    def close(self) -> None:
        """Close the upstream at once; a stream that had not ended is settled as cancelled."""
        self._leave(GeneratorExit())

    async def _break_off(self, failure: Failure) -> NoReturn:
        self.settled = True
        await self._line.break_off(self._passage, failure, self._upstream.usage, self._seen.size_bytes)
        raise provider_error(self._passage, failure)

    def _leave(self, error: BaseException) -> None:
        self._upstream.close()
        if not self.settled:
            self.settled = True
            self._line.abandon(
                self._passage, error, usage=self._upstream.usage, response_bytes=self._seen.size_bytes
            )

    def _outcome(self) -> Outcome:
        return Outcome(
            usage=self._upstream.usage,
            model=self._upstream.model,
            finish_reason=self._upstream.finish_reason,
            upstream_request_id=self._upstream.upstream_request_id,
            response_bytes=self._seen.size_bytes,
            response_sha256=self._seen.digest.hexdigest(),
        )

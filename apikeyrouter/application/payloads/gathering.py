"""Chunks of a stream that are remembered as they pass, up to a limit."""

from collections.abc import AsyncIterable, AsyncIterator

from apikeyrouter.application.passage import Passage


class GatheredChunks:
    """The chunks of a stream, which it leaves in the passage as well; iterate once."""

    def __init__(self, passage: Passage, chunks: AsyncIterable[bytes], most_bytes: int) -> None:
        self._passage = passage
        self._chunks = aiter(chunks)
        self._most_bytes = most_bytes
        self._gathered = passage.answer = bytearray()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = await anext(self._chunks)
        room = self._most_bytes - len(self._gathered)
        self._gathered += chunk[:room]
        if len(chunk) > room:
            self._passage.answer_is_cut = True
        return chunk

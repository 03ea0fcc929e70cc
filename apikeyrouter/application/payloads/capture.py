"""What the line of a request tells of its bodies, and what is done with them where nobody's are kept."""

from collections.abc import AsyncIterable
from typing import Protocol

from apikeyrouter.application.passage import Passage


class Capture(Protocol):
    """Whoever takes bodies over. Neither method waits, fails, or costs what can be noticed."""

    def gathered(self, passage: Passage, chunks: AsyncIterable[bytes]) -> AsyncIterable[bytes]:
        """Return what is to be read in place of a stream: its chunks, remembered if they are to be kept."""

    def ended(self, passage: Passage) -> None:
        """Take over the bodies of a request that has ended, if they are to be kept."""


class NoCapture:
    """Nothing is kept."""

    def gathered(self, passage: Passage, chunks: AsyncIterable[bytes]) -> AsyncIterable[bytes]:  # noqa: ARG002 - it has nothing to remember
        """Return the stream as it is."""
        return chunks

    def ended(self, passage: Passage) -> None:
        """Let the bodies go."""

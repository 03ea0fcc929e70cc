"""The seam outward: one HTTP exchange, with separate deadlines and classified errors."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

import msgspec

from apikeyrouter.domain.failures import FailureClass


class Deadlines(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds allowed for each phase.

    `first_byte_s` lasts until status and headers are there, so headers that trickle do not prolong it;
    `idle_s` starts anew with every piece of the body; `total_s` spans from the call to the last byte.
    """

    connect_s: float = 5.0
    first_byte_s: float = 120.0
    idle_s: float = 60.0
    total_s: float = 600.0


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One request. `url` is absolute and holds no secret; framing headers are the transport's to set."""

    method: str
    url: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    deadlines: Deadlines

    def __repr__(self) -> str:
        """Describe the request without its headers, which carry the key, and without its contents."""
        return f"HttpRequest(method={self.method!r}, url={self.url!r}, body={len(self.body)} bytes)"


class TransportError(Exception):
    """The exchange broke. Holds the class only, never the library's text, which may quote headers."""

    def __init__(self, failure_class: FailureClass, *, sent: bool) -> None:
        super().__init__(failure_class.value)
        self.failure_class = failure_class
        self.sent = sent


Relay = Callable[[bytes], bool]
"""Takes a chunk at once and returns True, or leaves it alone."""


class HttpResponse(Protocol):
    """Status and headers are there; the body is read whole or by chunks, once."""

    status: int
    headers: dict[str, str]
    """Lower-case names; of repeated headers the last."""

    async def read(self, limit_bytes: int) -> bytes:
        """Return the decoded body; more than the limit raises `MalformedAnswer`."""

    def chunks(self, relay: Relay | None = None) -> AsyncIterator[bytes]:
        """Yield decoded body bytes as they arrive.

        What arrives while the reader waits may be offered to `relay` first: what that takes is not yielded.
        """

    def finish(self) -> None:
        """Want no more of the body; keep the connection if the little that is left arrives at once."""

    def close(self) -> None:
        """Close the connection at once unless the body was read to its end (then it is kept alive)."""


class Transport(Protocol):
    """Send requests, each at most once. Cancelling `send` or a read closes the connection at once."""

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Return once status and headers are there; raise `TransportError`."""

    async def close(self) -> None:
        """Close idle connections."""

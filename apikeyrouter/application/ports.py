"""What the use cases need from the world, each a role with a few methods."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from apikeyrouter.domain.events import NewEvent, Recorded

Follower = Callable[[Sequence[Recorded]], None]


class EventReader(Protocol):
    """Read the log. Blocking; safe beside a running writer."""

    def read(self, after: int = 0, until: int | None = None) -> Iterator[Recorded]:
        """Yield the events with `after < position <= until` in order of position."""

    def stream(self, stream: str) -> list[Recorded]:
        """Return one stream from its first event; empty if there is none."""


class EventLog(EventReader, Protocol):
    """Append to the log, in the order of the calls, durable together.

    `append` takes the loop thread only: positions are assigned and events encoded before it returns.
    The future resolves once the events are durable and raises `LogUnavailableError` if they never were;
    after that every append fails until `reopen` succeeds, so nothing is stored behind a hole.
    """

    head: int
    """Position of the last event handed in, durable or not."""

    available: bool
    """False from the first failed append until `reopen` succeeds."""

    def append(self, events: Sequence[NewEvent]) -> asyncio.Future[None]:
        """Hand in events that become durable all or none."""

    def follow(self, follower: Follower) -> None:
        """Call `follower` in the loop thread with every batch once it is durable, in order."""

    async def reopen(self) -> None:
        """Try to make the log writable after a failure and reset `head` to what is stored."""

    async def close(self) -> None:
        """Write what is pending, then give the log back."""


class Vault(Protocol):
    """Keep key material sealed; elsewhere a key is its id and its fingerprint."""

    def fingerprint(self, material: str) -> str:
        """Return a keyed hash by which the same material is recognised."""

    def seal(self, key_id: str, material: str) -> None:
        """Store the material durably, replacing what was there."""

    def unseal(self, key_id: str) -> str:
        """Return the material, or raise `KeyMaterialMissingError`."""

    def destroy(self, key_id: str) -> None:
        """Overwrite and forget the material."""

    def close(self) -> None:
        """Give the store back."""


class Clock(Protocol):
    """Time enters the system here and nowhere else."""

    def now_us(self) -> int:
        """Microseconds since the epoch, UTC."""

    def elapsed_us(self) -> int:
        """Microseconds of a clock that never jumps."""


class Entropy(Protocol):
    """Identity and chance enter the system here and nowhere else."""

    def new_id(self) -> str:
        """Return a fresh, time-ordered id (UUIDv7, 32 hex digits)."""

    def seed(self) -> int:
        """Return an integer in [0, 2**53), exact in JSON."""

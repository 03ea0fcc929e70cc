"""What the use cases need from the world, each a role with a few methods."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from apikeyrouter.domain.events import NewEvent, Recorded

Follower = Callable[[Sequence[Recorded]], None]


class EventReader(Protocol):
    """Read the log. Blocking; safe beside a running writer."""

    def read(self, after: int = 0, until: int | None = None) -> Iterator[Recorded]:
        """Yield the events with `after < position <= until` in order of position."""

    def stream(self, stream: str) -> list[Recorded]:
        """Return one stream from its first event; empty if there is none."""


class EventFinder(EventReader, Protocol):
    """Find single events without reading what lies around them, however long the log and its streams are."""

    def event(self, stream: str, version: int) -> Recorded | None:
        """Return one event by its place in its stream; None if the log does not have it."""

    def within(self, prefixes: Sequence[str], after: int, until: int) -> list[Recorded]:
        """Return the events with `after < position <= until` of streams whose names begin so."""


class EventLog(EventReader, Protocol):
    """Append to the log, in the order of the calls, durable together.

    `append` takes the loop thread only: positions are assigned and events encoded before it returns.
    The future resolves once the events are durable. It raises `LogUnavailableError` if that cannot be
    vouched for; whether they are stored all the same is known after `reopen`. Until that succeeds every
    append fails, so nothing is stored behind a hole. Reading shows what is durable, not what is pending.
    """

    head: int
    """Position of the last event handed in, durable or not."""

    available: bool
    """False from the first failed append until `reopen` succeeds, and after `close`."""

    def append(self, events: Sequence[NewEvent]) -> asyncio.Future[None]:
        """Hand in events that become durable all or none.

        Raises `LogUnavailableError` at once, with nothing handed in, if the log is not available or too much
        is pending. The future need not be awaited; cancelling it does not take the events back.
        """

    def together(self) -> AbstractContextManager[None]:
        """Let all appends within become durable all or none. Nothing may be awaited within."""

    def follow(self, follower: Follower) -> None:
        """Call `follower` in the loop thread with every batch once it is durable, in order.

        Followers have been called before those who await the batch go on. Positions that a follower was
        not told of after an outage are stored events all the same: it catches up by reading.
        """

    async def reopen(self) -> None:
        """Wait for what is pending; after a failure make the log writable and reset `head` to what is stored.

        Raises `LogUnavailableError` if the log still cannot be written.
        """

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

    def key_ids(self) -> Sequence[str]:
        """Return the ids under which material is sealed."""

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

"""What sealing and verifying need from the world."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from apikeyrouter.application.ports import EventFinder, EventLog
from apikeyrouter.domain.proof.leaves import StoredRow
from apikeyrouter.domain.proof.notes import Note, VerifierKey

FIRST_POSSIBLE = -(2**63)


class Extent(NamedTuple):
    """How far the stored rows reach: how many, the first and the last position, the last one ever given."""

    rows: int
    first: int
    last: int
    last_ever: int


class CondemnableLog(EventLog, EventFinder, Protocol):
    """A log that can be asked for single events, and told to take no more."""

    def condemn(self, reason: str) -> None:
        """Take no more until another process opens the log: it is not what was written. From any thread."""


class Rows(Protocol):
    """The stored rows as they are, undecoded. Blocking; safe beside a running writer."""

    def pages(
        self, first: int = FIRST_POSSIBLE, until: int | None = None, *, most: int = 2000
    ) -> Iterator[list[StoredRow]]:
        """Yield the rows with `first <= position <= until` in order of position, so many at a time.

        Raises `LogUnavailableError` behind the last row that can be read.
        """

    def extent(self) -> Extent:
        """Tell how far the rows reach; zeroes if there are none."""

    def of_stream(self, stream: str) -> list[StoredRow]:
        """Return the rows of one stream, by version."""

    def count(self, first: int, last: int) -> int:
        """Count the rows with `first <= position <= last`."""

    def make_durable(self) -> None:
        """Make everything that was read outlive a power cut: a seal must never know more than the log."""

    def damage(self) -> list[str]:
        """Say where the store's own structure is wrong, its index against its rows included."""


class Seals(Protocol):
    """What is kept of the tree outside the log: a hash for each event, and signed checkpoints."""

    @property
    def count(self) -> int:
        """How many hashes there are; more than the latest checkpoint covers only after a crash."""

    @property
    def closed(self) -> bool:
        """True if the last one who sealed ended in good order: everything written then is covered."""

    def hashes(self, first: int, after: int) -> bytes:
        """Return the hashes of the leaves `first <= place < after`, fewer behind the end."""

    def subtree(self, first: int, after: int) -> bytes:
        """Return the root over leaves from a place where a whole subtree of that size begins."""

    def latest(self) -> Note | None:
        """Return the last checkpoint; None if nothing was ever sealed. Raises `NoteError`."""

    def notes(self) -> Iterator[bytes]:
        """Yield the checkpoints that were kept, from the first, and the latest one, as they stand there."""


class SealBook(Seals, Protocol):
    """Seals that can be added to; held by one process."""

    def begin(self) -> None:
        """Say durably that events may be written from now on, and forget hashes that no checkpoint covers."""

    def add(self, hashes: bytes) -> None:
        """Add the hashes of the next leaves; durable with the next checkpoint."""

    def root(self) -> bytes:
        """Return the root over all hashes."""

    def conclude(self, note: Note, *, keep: bool) -> None:
        """Make the hashes durable, then the checkpoint over them; unless kept it gives way to the next."""

    def end(self) -> None:
        """Say durably that everything that was written is covered."""

    def close(self) -> None:
        """Let another process seal."""


class Signer(Protocol):
    """Signs for the log; the private key never leaves it."""

    @property
    def key(self) -> VerifierKey:
        """The public half; its name is the log's origin."""

    def sign(self, text: str, time_s: int) -> Note:
        """Sign a checkpoint, and cosign it with the time."""


SignedBy = Callable[[Note, VerifierKey], bool]
"""Tells whether a note bears a valid signature of a key."""

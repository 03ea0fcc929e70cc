"""What retention needs from the world."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from apikeyrouter.application.ports import EventReader
from apikeyrouter.domain.events import Recorded, SegmentDropped
from apikeyrouter.domain.positions import Positions, Run


class Past(EventReader, Protocol):
    """Read a log with what has left it: the very events that a state of it is a fold of.

    A node that began while segments were away folded what was left, and said so by `StateRefolded`; from
    there on, its states are folds without what those segments hold.
    """

    def read(
        self, after: int = 0, until: int | None = None, *, as_of: int | None = None
    ) -> Iterator[Recorded]:
        """Yield the events with `after < position <= until` that the state at `as_of` is a fold of.

        `as_of` is `until` where it is not given. Raises `ArchivedError` if some of them are not at hand.
        """

    def stretches(self, first: int, last: int) -> list[Run]:
        """Cut a range into those within which one state grows from event to event."""


class Laid(NamedTuple):
    """A segment that lies in its folder, verified: its name and hash, and the checkpoint that it fits."""

    name: str
    sha256: str
    size: int
    root: str


class Shelf(Protocol):
    """Where segments are laid. All but `remove` and `wipe` block, and may be called in any thread."""

    @property
    def sealed(self) -> int:
        """How many events the latest checkpoint covers."""

    def names(self, folder: Path | None = None) -> list[str]:
        """Return the segments that lie in the folder."""

    def lay(self, positions: Positions, folder: Path | None = None) -> Laid:
        """Write a segment durably, read it back, and compare it with log and seals.

        `folder` None is the one beside the log. Raises `ConflictError` if anything is not as it was sealed.
        """

    def take_back(self, name: str, folder: Path | None = None) -> None:
        """Remove a segment that no event tells of."""

    def signed(self, told: SegmentDropped) -> SegmentDropped:
        """Sign what an event says, with the log's key."""

    async def remove(self, runs: Sequence[Run]) -> None:
        """Delete rows in one transaction, between those of others; what is gone already is gone."""

    async def wipe(self) -> bool:
        """Leave nothing of deleted rows beside the file; False if somebody reads there now."""

"""What retention needs from the world."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from apikeyrouter.domain.events import SegmentDropped
from apikeyrouter.domain.positions import Positions, Run


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

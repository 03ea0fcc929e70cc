"""Compare rows with the hashes that were sealed, page by page, and say what was done to them."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from apikeyrouter.application.proof.findings import Finding, Trouble
from apikeyrouter.domain.positions import Run
from apikeyrouter.domain.proof.leaves import MalformedRowError, StoredRow, leaf_bytes, row_hash
from apikeyrouter.domain.proof.merkle import HASH_BYTES, leaf_hash

MOST_EXPLAINED = 64
"""What differs beyond is counted, not explained: after a deletion every later row may have moved."""

WIDE_GAP = 1024
"""Where so many positions were dropped between two rows, their hashes are not read."""

HashesOf = Callable[[int, int], bytes]
Unaccounted = Callable[[int, int], list[Run]]
"""Returns which of the positions between two are missing although nothing says that they were dropped."""


class Differences:
    """What was found so far; feed all rows in the order of their positions, then ask."""

    def __init__(
        self,
        sealed: int,
        hashes: HashesOf,
        *,
        first: int = 1,
        unaccounted: Unaccounted = lambda first, last: [(first, last)],
    ) -> None:
        """Compare from a position on with `sealed` hashes, which `hashes` returns by place, from 0."""
        self.sealed = sealed
        self._unaccounted = unaccounted
        self.rows = 0
        self.different = 0
        self._hashes = hashes
        self._expected = first
        self._rows: dict[int, StoredRow] = {}
        self._missing: list[int] = []
        self._plain: list[Finding] = []

    @property
    def last(self) -> int:
        """The last position that was fed, 0 before the first."""
        return self._expected - 1

    @property
    def misses(self) -> bool:
        """True if a row was missing, or one had no place."""
        return bool(self._plain)

    def feed(self, page: Sequence[StoredRow]) -> None:
        """Compare the next rows."""
        begin = 0
        for at, (row, following) in enumerate(pairwise(page), 1):
            if following[0] - row[0] > WIDE_GAP:
                self._feed(page[begin:at])
                begin = at
        self._feed(page[begin:])

    def _feed(self, page: Sequence[StoredRow]) -> None:
        if page[0][0] - self._expected > WIDE_GAP:
            self._miss(page[0][0])
        first, last = self._expected, min(page[-1][0], self.sealed)
        hashes = self._hashes(first - 1, last) if first <= last else b""
        self.rows += len(page)
        for row in page:
            position = row[0]
            if position != self._expected and not self._step_over(row):
                continue
            if position <= self.sealed:
                at = (position - first) * HASH_BYTES
                try:
                    same = leaf_hash(leaf_bytes(*row)) == hashes[at : at + HASH_BYTES]
                except MalformedRowError:
                    same = False
                if not same:
                    self._differs(row)
            self._expected = position + 1

    def findings(self) -> Iterator[Finding]:
        """Say what is wrong with what was fed."""
        yield from self._plain
        yield from map(self._explained, self._rows.values())

    def _step_over(self, row: StoredRow) -> bool:
        """Note what lies before a row that is not the expected one; tell whether it has a place at all."""
        position = row[0]
        if position < 1:
            self._plain.append(_found(Trouble.Inserted, position, "positions begin at 1"))
            return False
        self._miss(position)
        return True

    def _miss(self, position: int) -> None:
        """Go on at a position; what lies before it is missing, and dropped or deleted."""
        for first, last in self._unaccounted(self._expected, position - 1):
            detail = "it is missing" if first == last else f"all up to {last} are missing"
            self._plain.append(_found(Trouble.Deleted, first, detail))
            self._missing += range(first, last + 1)[: MOST_EXPLAINED - len(self._missing)]
        self._expected = position

    def _differs(self, row: StoredRow) -> None:
        self.different += 1
        if len(self._rows) < MOST_EXPLAINED:
            self._rows[row[0]] = row

    def _explained(self, row: StoredRow) -> Finding:
        """Say what happened to a row, by where its contents belong and where what belongs here is."""
        position = row[0]
        home = self._home(row)
        guest = self._here_belongs(position)
        if home is not None and home == guest:
            return _found(Trouble.Swapped, position, f"it was swapped with position {home}")
        if home is not None and guest is None and home > position:
            return _found(Trouble.Deleted, position, f"it is gone; in its place is what was at {home}")
        if home is not None:
            return _found(Trouble.Moved, position, f"in its place is what was at {home}")
        if guest == position + 1:
            return _found(Trouble.Inserted, position, "it was put in, and what follows was moved down")
        return _found(Trouble.Changed, position, "it is not what was sealed")

    def _home(self, row: StoredRow) -> int | None:
        """Return the position at which just these contents were sealed, where one comes into question."""
        position = row[0]
        places = (*self._rows, *self._missing, position + 1)
        return next((place for place in places if place != position and self._fits(row, place)), None)

    def _here_belongs(self, position: int) -> int | None:
        """Return where the contents are now that were sealed at a position."""
        return next(
            (other for other, row in self._rows.items() if other != position and self._fits(row, position)),
            None,
        )

    def _fits(self, row: StoredRow, position: int) -> bool:
        if not 1 <= position <= self.sealed:
            return False
        try:
            made = row_hash(StoredRow(position, *row[1:]))
        except MalformedRowError:
            return False
        return made == self._hashes(position - 1, position)


def _found(trouble: Trouble, position: int, detail: str) -> Finding:
    return Finding(trouble, position, f"position {position}: {detail}")

"""Sets of positions of the log, kept as ranges."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

Run = tuple[int, int]
"""The positions from one to another, both included."""


class Positions:
    """A set of positions that never changes: ranges in order, none touching the next."""

    __slots__ = ("_firsts", "_lasts", "count")

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        """Join runs, in any order; they may touch and overlap."""
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in sorted(runs):
            if self._lasts and first <= self._lasts[-1] + 1:
                self._lasts[-1] = max(self._lasts[-1], last)
            else:
                self._firsts.append(first)
                self._lasts.append(last)
        self.count = sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    def __contains__(self, position: object) -> bool:
        if not isinstance(position, int):
            return False
        at = bisect_right(self._firsts, position) - 1
        return at >= 0 and position <= self._lasts[at]

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Positions) and self.runs() == other.runs()

    def __hash__(self) -> int:
        return hash(tuple(self.runs()))

    def runs(self) -> list[Run]:
        """Return the ranges in order."""
        return list(zip(self._firsts, self._lasts, strict=True))

    def each(self) -> Iterator[int]:
        """Yield every position in order."""
        for first, last in self.runs():
            yield from range(first, last + 1)

    def within(self, first: int, last: int) -> list[Run]:
        """Return the ranges that lie between two positions, cut to them."""
        begin, end = bisect_left(self._lasts, first), bisect_right(self._firsts, last)
        return [
            (max(first, self._firsts[at]), min(last, self._lasts[at])) for at in range(begin, max(begin, end))
        ]

    def others(self, first: int, last: int) -> list[Run]:
        """Return the ranges between two positions that do not belong to the set."""
        left, at = [], first
        for begin, end in self.within(first, last):
            if at < begin:
                left.append((at, begin - 1))
            at = end + 1
        return [*left, (at, last)] if at <= last else left


def alternating(positions: list[int]) -> tuple[int, ...]:
    """Count sorted positions from the first to the last: so many in, so many out, and so on in turn."""
    counts: list[int] = []
    behind = 0
    for first, last in Positions((position, position) for position in positions).runs():
        if counts:
            counts.append(first - behind)
        counts.append(last - first + 1)
        behind = last + 1
    return tuple(counts)


def runs_of(first: int, counts: Iterable[int]) -> Iterator[Run]:
    """Yield the ranges that `alternating` counted from a first position."""
    at = first
    for place, count in enumerate(counts):
        if place % 2 == 0:
            yield at, at + count - 1
        at += count

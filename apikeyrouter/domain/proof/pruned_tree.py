"""One proof for many leaves: the tree without the branches in which none of them stands.

Each cut branch leaves its root behind, so that whoever has the leaves can make the root of the whole again;
a leaf that is missing, added or in another place makes another one. For leaves side by side it is as small
as a consistency proof.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from apikeyrouter.domain.proof.merkle import RootOf, split


class Branch(NamedTuple):
    """What was cut: the leaves `first <= place < after`, and the root over them."""

    first: int
    after: int
    root: bytes


def prune(subtree: RootOf, places: Sequence[int], size: int) -> list[Branch]:
    """Cut a tree of `size` leaves down to the leaves at some places, which are sorted and not repeated."""
    if not places or places[0] < 0 or places[-1] >= size:
        raise ValueError(f"places of a tree of {size} leaves are wanted, and at least one")
    return list(_cut(subtree, places, 0, size))


def _cut(subtree: RootOf, places: Sequence[int], first: int, after: int) -> Iterator[Branch]:
    begin, end = bisect_left(places, first), bisect_left(places, after)
    if begin == end:
        yield Branch(first, after, subtree(first, after))
    elif end - begin < after - first:
        middle = first + split(after - first)
        yield from _cut(subtree, places, first, middle)
        yield from _cut(subtree, places, middle, after)

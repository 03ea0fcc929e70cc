"""The Merkle tree of RFC 9162 (section 2.1, the same as in RFC 6962): roots and proofs over leaf hashes.

Places of leaves count from 0; the event at position p is leaf p - 1. What has no single answer in a tree of
that size (a place behind its end, say) raises `ValueError`; a proof that does not fit is only untrue.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

HASH_BYTES = 32
EMPTY_ROOT = sha256().digest()

RootOf = Callable[[int, int], bytes]
"""Returns the root of the subtree over the leaves `first <= place < after`."""


def leaf_hash(leaf: bytes) -> bytes:
    """Hash what stands in a leaf."""
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two subtrees into their parent."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """A tree that only grows, as the roots of its whole subtrees from left to right: at most one a level."""

    __slots__ = ("peaks", "size")

    def __init__(self) -> None:
        self.size = 0
        self.peaks: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Add the hash of the next leaf."""
        peaks, places = self.peaks, self.size
        while places & 1:
            leaf = sha256(b"\x01" + peaks.pop() + leaf).digest()
            places >>= 1
        peaks.append(leaf)
        self.size += 1

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add the hashes of the next leaves."""
        for leaf in leaves:
            self.append(leaf)

    def append_subtree(self, level: int, root: bytes) -> None:
        """Add the root of the next `2**level` leaves at once, where a subtree of that size begins."""
        if self.size & ((1 << level) - 1):
            raise ValueError(f"no subtree of {1 << level} leaves begins at place {self.size}")
        places = self.size >> level
        while places & 1:
            root = node_hash(self.peaks.pop(), root)
            places >>= 1
        self.peaks.append(root)
        self.size += 1 << level

    def root(self) -> bytes:
        """Return the root of the tree as it is now."""
        return root_over(self.peaks)


def root_over(peaks: Sequence[bytes]) -> bytes:
    """Return the root over whole subtrees from left to right, each smaller than the one before."""
    if not peaks:
        return EMPTY_ROOT
    *left, root = peaks
    for peak in reversed(left):
        root = node_hash(peak, root)
    return root


def split(count: int) -> int:
    """Return the largest power of two below a count of at least 2: where RFC 9162 parts a tree."""
    return 1 << (count - 1).bit_length() - 1


def inclusion_proof(subtree: RootOf, place: int, size: int) -> list[bytes]:
    """Return the path from a leaf to the root of the tree of that size, as RFC 9162, 2.1.3.1."""
    if not 0 <= place < size:
        raise ValueError(f"a tree of {size} leaves has no place {place}")
    path: list[bytes] = []
    first, after = 0, size
    while after - first > 1:
        middle = first + split(after - first)
        if place < middle:
            path.append(subtree(middle, after))
            after = middle
        else:
            path.append(subtree(first, middle))
            first = middle
    return path[::-1]


def consistency_proof(subtree: RootOf, old_size: int, size: int) -> list[bytes]:
    """Return what shows that a tree is the beginning of a larger one, as RFC 9162, 2.1.4.1.

    It is empty where the old tree is empty, or the same.
    """
    if not 0 <= old_size <= size:
        raise ValueError(f"a tree of {old_size} leaves is no beginning of one of {size}")
    if old_size in {0, size}:
        return []
    path: list[bytes] = []
    first, after = 0, size
    while after != old_size:
        middle = first + split(after - first)
        if old_size <= middle:
            path.append(subtree(middle, after))
            after = middle
        else:
            path.append(subtree(first, middle))
            first = middle
    if first:
        path.append(subtree(first, after))
    return path[::-1]


def inclusion_holds(leaf: bytes, place: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Tell whether a leaf's hash stands at a place of the tree with that root, as RFC 9162, 2.1.3.2."""
    if not 0 <= place < size:
        return False
    last, made = size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            made = node_hash(step, made)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            made = node_hash(made, step)
        place, last = place >> 1, last >> 1
    return last == 0 and made == root


def consistency_holds(old_size: int, size: int, proof: Sequence[bytes], old_root: bytes, root: bytes) -> bool:
    """Tell whether the tree with the old root is the beginning of the other, as RFC 9162, 2.1.4.2."""
    if not 0 <= old_size <= size:
        return False
    if old_size == 0:
        return not proof and old_root == EMPTY_ROOT
    if old_size == size:
        return not proof and old_root == root
    steps = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    if not steps:
        return False
    place, last = old_size - 1, size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old_made = made = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old_made, made = node_hash(step, old_made), node_hash(step, made)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            made = node_hash(made, step)
        place, last = place >> 1, last >> 1
    return last == 0 and old_made == old_root and made == root

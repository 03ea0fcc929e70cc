"""The tree as RFC 9162 defines it, word for word, and nothing clever: what the proofs are judged by."""

import hashlib


def split(n):
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def mth(entries):
    """Return the Merkle tree hash of a list of entries."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\0" + entries[0]).digest()
    k = split(len(entries))
    return hashlib.sha256(b"\1" + mth(entries[:k]) + mth(entries[k:])).digest()


def path(m, entries):
    """Return the inclusion proof of entry m."""
    if len(entries) == 1:
        return []
    k = split(len(entries))
    if m < k:
        return [*path(m, entries[:k]), mth(entries[k:])]
    return [*path(m - k, entries[k:]), mth(entries[:k])]


def proof(m, entries):
    """Return the consistency proof of the first m entries."""
    return subproof(m, entries, whole=True)


def subproof(m, entries, *, whole):
    if m == len(entries):
        return [] if whole else [mth(entries)]
    k = split(len(entries))
    if m <= k:
        return [*subproof(m, entries[:k], whole=whole), mth(entries[k:])]
    return [*subproof(m - k, entries[k:], whole=False), mth(entries[:k])]


def climb(leaf, place, size, steps):
    """Return the root that an inclusion proof leads to, by its definition; None if it cannot fit."""
    if size == 1:
        return leaf if not steps else None
    if not steps:
        return None
    k = split(size)
    if place < k:
        below = climb(leaf, place, k, steps[:-1])
        return below and hashlib.sha256(b"\1" + below + steps[-1]).digest()
    below = climb(leaf, place - k, size - k, steps[:-1])
    return below and hashlib.sha256(b"\1" + steps[-1] + below).digest()

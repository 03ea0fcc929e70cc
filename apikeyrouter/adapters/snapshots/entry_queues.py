"""The amounts in rolling windows: by far the most of a busy state, so they are copied fast and encoded later.

Only what an open request holds ever changes, and the values of that are taken down at once. The others are
copied by reference and read in another thread, in slices with pauses, so that requests go on in between.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import accumulate

import msgspec
import numpy as np

from apikeyrouter.domain.account_columns import Entry

SLICE = 2_000
PAUSE_S = 0.0002
NOWHERE = -1
FIELDS = len(Entry.__struct_fields__)
Values = tuple[int, int, int, int, bool]
_TYPE = np.dtype("<i8")


class StoredQueues(msgspec.Struct, frozen=True, array_like=True):
    """Every entry once, and queues as places among them, one queue after the other.

    `entries` has a column of 8-byte integers for each field, `places` are such integers too. `held` are the
    values of what requests hold, with its place, or `NOWHERE` where it is in no queue.
    """

    entries: bytes
    places: bytes
    lengths: tuple[int, ...]
    held: tuple[tuple[int, Values], ...]


class CopiedQueues:
    """Queues and held entries as they stood when they were handed in."""

    def __init__(self) -> None:
        self._queues: list[list[Entry]] = []
        self._held: list[tuple[Entry, Values]] = []

    def add(self, queue: deque[Entry]) -> int:
        """Copy a queue, and return its number."""
        self._queues.append(list(queue))
        return len(self._queues) - 1

    def hold(self, entry: Entry) -> int:
        """Copy an entry that may change at any time, and return its number."""
        self._held.append((entry, _values(entry)))
        return len(self._held) - 1

    def encoded(self) -> StoredQueues:
        """Encode what was copied, unhurried; not for the thread that serves requests."""
        place_of: dict[int, int] = {}
        known: list[Entry] = []
        places = [
            np.array([_place(entry, place_of, known) for entry in part], dtype=_TYPE)
            for part in _slices([entry for queue in self._queues for entry in queue])
        ]
        return StoredQueues(
            entries=_columns(known),
            places=b"".join(part.tobytes() for part in places),
            lengths=tuple(map(len, self._queues)),
            held=tuple((place_of.get(id(entry), NOWHERE), values) for entry, values in self._held),
        )


class RestoredQueues:
    """Queues and held entries again; those that were one and the same are so again."""

    def __init__(self, stored: StoredQueues) -> None:
        columns = np.frombuffer(stored.entries, dtype=_TYPE).reshape(FIELDS, -1)
        *numbers, is_held = columns
        entries = list(map(Entry, *(column.tolist() for column in numbers), (is_held != 0).tolist()))
        self._held: list[Entry] = []
        for place, values in stored.held:
            entry = Entry(*values)
            self._held.append(entry)
            if place != NOWHERE:
                entries[place] = entry
        ordered = list(map(entries.__getitem__, np.frombuffer(stored.places, dtype=_TYPE).tolist()))
        ends = accumulate(stored.lengths)
        self._queues = [ordered[end - length : end] for end, length in zip(ends, stored.lengths, strict=True)]

    def queue(self, number: int) -> deque[Entry]:
        """Return the queue of a number."""
        return deque(self._queues[number])

    def held(self, number: int) -> Entry:
        """Return the held entry of a number."""
        return self._held[number]


def _values(entry: Entry) -> Values:
    return entry.row, entry.generation, entry.amount, entry.ends_us, entry.is_held


def _place(entry: Entry, place_of: dict[int, int], known: list[Entry]) -> int:
    place = place_of.get(id(entry))
    if place is None:
        place = place_of[id(entry)] = len(known)
        known.append(entry)
    return place


def _columns(entries: Sequence[Entry]) -> bytes:
    parts = [np.array([_values(entry) for entry in part], dtype=_TYPE) for part in _slices(entries)]
    rows = np.concatenate(parts) if parts else np.zeros((0, FIELDS), dtype=_TYPE)
    return rows.T.tobytes()


def _slices(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    for first in range(0, len(entries), SLICE):
        yield entries[first : first + SLICE]
        time.sleep(PAUSE_S)

"""By what a snapshot knows its log again: the hashes of two of its rows."""

from typing import Protocol

from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.adapters.proof.seal_folder import SealFolder
from apikeyrouter.adapters.proof.stored_rows import StoredRows
from apikeyrouter.domain.proof.leaves import row_hash
from apikeyrouter.domain.proof.merkle import HASH_BYTES


class Marks(Protocol):
    """Tells the rows of one log apart from those of any other."""

    def hash_at(self, position: int) -> str | None:
        """Return the hash of the row at a position, in hex; None if the log does not reach there."""


class LogMarks:
    """Implements `Marks` by the stored rows; of one that left for its age, by what was sealed of it."""

    def __init__(self, rows: StoredRows, seals: SealFolder, reader: SqliteReader) -> None:
        self._rows = rows
        self._seals = seals
        self._reader = reader

    def hash_at(self, position: int) -> str | None:
        """Return the hash of the row at a position, in hex; None if the log does not reach there."""
        for page in self._rows.pages(position, position):
            return row_hash(page[0]).hex()
        if position > self._reader.head():
            return None
        leaf = self._seals.hashes(position - 1, position)
        return leaf.hex() if len(leaf) == HASH_BYTES else None

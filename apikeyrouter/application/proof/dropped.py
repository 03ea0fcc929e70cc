"""Which positions of a log may be missing: those that a sealed and signed event says were dropped."""

from collections.abc import Callable

import msgspec

from apikeyrouter.application.proof.ports import Rows, Seals, SignedBy
from apikeyrouter.domain.events import EVENT_NAMES, RETENTION_STREAM, SegmentDropped
from apikeyrouter.domain.positions import Positions, Run
from apikeyrouter.domain.proof.leaves import MalformedRowError, StoredRow, row_hash
from apikeyrouter.domain.proof.notes import Note, NoteError, Signature, VerifierKey, strict_base64
from apikeyrouter.domain.retention import Segment, is_sound, statement_of
from apikeyrouter.domain.vocabulary.shape import EventRef

MOST_LOOKS = 64
"""A walk looks again where something is missing, for it may have been dropped since it began."""

_NAME = EVENT_NAMES[SegmentDropped]
_decode = msgspec.json.Decoder(SegmentDropped).decode


class Dropped:
    """The dropped positions, read from the log itself.

    Only events count that stand there as they were sealed, below `covered` events, and that the log's key
    signed: whoever can write the file alone can make no position's absence right.
    """

    def __init__(
        self, rows: Rows, seals: Seals, key: VerifierKey, signed_by: SignedBy, covered: Callable[[], int]
    ) -> None:
        self._rows = rows
        self._seals = seals
        self._key = key
        self._signed_by = signed_by
        self._covered = covered
        self._looks = 0
        self.positions = Positions()
        self.look()

    def look(self) -> list[Segment]:
        """Read the log's word anew, and return the segments that it tells of."""
        covered = self._covered()
        found = [self._segment(row) for row in self._rows.of_stream(RETENTION_STREAM) if row.name == _NAME]
        segments = [one for one, at in found if one is not None and at <= covered]
        self.positions = Positions(run for one in segments for run in one.runs())
        return segments

    def unaccounted(self, first: int, last: int) -> list[Run]:
        """Return the ranges between two positions that nothing says were dropped."""
        missing = self.positions.others(first, last)
        if missing and self._looks < MOST_LOOKS:
            self._looks += 1
            self.look()
            missing = self.positions.others(first, last)
        return missing

    def _segment(self, row: StoredRow) -> tuple[Segment | None, int]:
        try:
            told = _decode(row.state)
            is_sealed = row_hash(row) == self._seals.hashes(row.position - 1, row.position)
            is_true = is_sealed and is_sound(told) and told.last < row.position and self._signed(told)
        except (MalformedRowError, msgspec.MsgspecError, NoteError, ValueError, TypeError):
            is_true = False
        return (Segment(told, EventRef(row.stream, row.version)) if is_true else None), row.position

    def _signed(self, told: SegmentDropped) -> bool:
        signature = Signature(self._key.name, self._key.key_id, strict_base64(told.signature))
        return self._signed_by(Note(statement_of(self._key.name, told), (signature,)), self._key)

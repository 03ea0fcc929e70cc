"""A log with its archived requests in their places: for whoever folds from the beginning."""

import heapq
from collections.abc import Iterable, Iterator
from itertools import chain
from operator import itemgetter
from pathlib import Path

from apikeyrouter.adapters.eventlog.mapper import from_stored
from apikeyrouter.adapters.proof.signing_key import read_verifier_key
from apikeyrouter.adapters.retention.segment_folder import read_segment, segment_folder_beside
from apikeyrouter.application.ports import EventReader
from apikeyrouter.application.retention.gaps import ArchivedError, is_here, retention_of, told_of
from apikeyrouter.domain.events import Recorded
from apikeyrouter.domain.positions import Positions, Run
from apikeyrouter.domain.proof.leaves import StoredRow
from apikeyrouter.domain.retention import Segment


class WholeLog:
    """Implements `Past`: what left the log is read from the segments beside it, one at a time.

    Raises `ArchivedError` where one of them is not there, `ConflictError` if it is not what was recorded.
    """

    def __init__(self, reader: EventReader, log_path: Path | None) -> None:
        self._reader = reader
        self._path = log_path

    def read(
        self, after: int = 0, until: int | None = None, *, as_of: int | None = None
    ) -> Iterator[Recorded]:
        """Yield the events with `after < position <= until` that the state at `as_of` is a fold of.

        These are all, archived ones among them, but for what a node did without that began since. `as_of` is
        `until` where it is not given.
        """
        retention = retention_of(self._reader)
        left_out = retention.left_out_of(retention.refold_before(until if as_of is None else as_of))
        segments = [
            one
            for one in retention.between(after, until)
            if one not in left_out and not is_here(self._reader, one)
        ]
        self._refuse_if_away(segments)
        events = self._merged(segments, after, until) if segments else self._reader.read(after, until)
        if not left_out:
            return events
        without = Positions(run for one in left_out for run in one.runs())
        return (recorded for recorded in events if recorded.position not in without)

    def is_at_hand(self, first: int, last: int) -> bool:
        """Tell whether everything that the states in a range come from can be read."""
        try:
            for _, end in self.stretches(first, last):
                self.read(until=end)
        except ArchivedError:
            return False
        return True

    def stretches(self, first: int, last: int) -> list[Run]:
        """Cut a range where a node began anew without what had left: no fold goes on beyond."""
        return retention_of(self._reader).stretches(first, last)

    def _merged(self, segments: list[Segment], after: int, until: int | None) -> Iterator[Recorded]:
        archived = chain.from_iterable(map(self._together, clusters(segments)))
        within = (
            one for one in archived if one.position > after and (until is None or one.position <= until)
        )
        return _once(heapq.merge(self._reader.read(after, until), within, key=itemgetter(0)))

    def stream(self, stream: str) -> list[Recorded]:
        """Return one stream, as the log itself has it."""
        return self._reader.stream(stream)

    def _refuse_if_away(self, segments: Iterable[Segment]) -> None:
        away = [one for one in segments if not self._file(one).exists()]
        if away:
            raise ArchivedError(
                f"what came before counts here, but {told_of(away)}{self._way_out(away)}", param="segment"
            )

    def _way_out(self, away: list[Segment]) -> str:
        """Say from where on these segments do not count, if a node began without them."""
        retention = retention_of(self._reader)
        refold = retention.refold_before(None)
        left_out = retention.left_out_of(refold)
        if refold is None or not all(one in left_out for one in away):
            return ""
        return f". From position {refold.behind + 1} on they do not count: a node began without them there"

    def _together(self, cluster: list[Segment]) -> Iterator[Recorded]:
        return heapq.merge(*map(self._events, cluster), key=itemgetter(0))

    def _events(self, segment: Segment) -> Iterator[Recorded]:
        assert self._path is not None  # noqa: S101 - a log in memory has no segments
        key = read_verifier_key(self._path)
        if key is None:
            raise ArchivedError(f"the log's key is gone, and with it the proof of {segment.name}")
        rows, _ = read_segment(self._file(segment), key, digest=segment.told.sha256)
        yield from map(recorded_of, rows)

    def _file(self, segment: Segment) -> Path:
        assert self._path is not None  # noqa: S101 - a log in memory has no segments
        return segment_folder_beside(self._path) / segment.name


def recorded_of(row: StoredRow) -> Recorded:
    """Decode an archived row."""
    event = from_stored(row.stream, row.version, row.name, row.state)
    return Recorded(row.position, row.stream, row.version, event)


def clusters(segments: Iterable[Segment]) -> Iterator[list[Segment]]:
    """Yield segments in order, those together whose positions lie among each other."""
    cluster: list[Segment] = []
    last = 0
    for segment in sorted(segments, key=lambda one: one.told.first):
        if cluster and segment.told.first > last:
            yield cluster
            cluster = []
        cluster.append(segment)
        last = max(last, segment.told.last)
    if cluster:
        yield cluster


def _once(events: Iterable[Recorded]) -> Iterator[Recorded]:
    """Leave out what comes twice, as while a segment's rows are being deleted."""
    position = 0
    for recorded in events:
        if recorded.position != position:
            yield recorded
        position = recorded.position

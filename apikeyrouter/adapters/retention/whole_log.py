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
from apikeyrouter.application.retention.gaps import ArchivedError, missing_segments, told_of
from apikeyrouter.domain.events import Recorded
from apikeyrouter.domain.proof.leaves import StoredRow
from apikeyrouter.domain.retention import Segment


class WholeLog:
    """Implements `EventReader`: what left the log is read from the segments beside it, one at a time.

    Raises `ArchivedError` where one of them is not there.
    """

    def __init__(self, reader: EventReader, log_path: Path | None) -> None:
        self._reader = reader
        self._path = log_path

    def read(self, after: int = 0, until: int | None = None) -> Iterator[Recorded]:
        """Yield the events with `after < position <= until`, archived ones among them."""
        segments = missing_segments(self._reader, after, until)
        here = self._reader.read(after, until)
        if not segments:
            return here
        self._refuse_if_away(segments)
        archived = chain.from_iterable(map(self._together, clusters(segments)))
        within = (
            one for one in archived if one.position > after and (until is None or one.position <= until)
        )
        return _once(heapq.merge(here, within, key=itemgetter(0)))

    def stream(self, stream: str) -> list[Recorded]:
        """Return one stream, as the log itself has it."""
        return self._reader.stream(stream)

    def _refuse_if_away(self, segments: Iterable[Segment]) -> None:
        away = [one for one in segments if not self._file(one).exists()]
        if away:
            raise ArchivedError(f"what came before counts here, but {told_of(away)}", param="segment")

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

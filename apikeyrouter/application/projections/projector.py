"""Keep read models up with the log: each from its own position, which is stored with its rows.

A batch and the position behind it are one transaction. So a process may die at any instant, and several may
keep the same read models: whoever comes late finds the position moved, and goes on from there.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import NamedTuple, Protocol

from apikeyrouter.application.ports import EventReader
from apikeyrouter.application.projections.collecting import without_collection
from apikeyrouter.application.projections.read_models import READ_MODELS, Projections
from apikeyrouter.application.projections.tables import Change
from apikeyrouter.domain.events import RETENTION_STREAM, Recorded, SegmentRemoved, canonical_bytes
from apikeyrouter.limits import MOST_PROJECTED_EVENTS

Progress = Callable[[int], None]


class Standing(NamedTuple):
    """Where a read model stands: the last event that its rows tell of, and the hash of that event."""

    position: int = 0
    anchor: str = ""


class Advance(NamedTuple):
    """Read models that move together from one position to another; the end is known once all changes are."""

    models: tuple[str, ...]
    start: int
    end: Callable[[], Standing]


class ReadModelStore(Protocol):
    """Keep the tables."""

    def standings(self) -> Mapping[str, Standing]:
        """Return where each read model stands."""

    def write(self, changes: Iterable[Change], advance: Advance) -> bool:
        """Write changes and the position behind them in one transaction.

        False, and nothing is written, if the read models do not stand at the start any more.
        """

    def forget(self, models: Iterable[str]) -> None:
        """Empty the tables of read models, and put them back to the log's beginning."""


class _Stage(NamedTuple):
    models: tuple[str, ...]
    start: int
    until: int | None


def catch_up(reader: EventReader, store: ReadModelStore, *, progress: Progress = lambda _count: None) -> int:
    """Bring all read models to the end of the log; return the position that they stand at then.

    Read models of another log, or of one that was rolled back, are made anew from its beginning.
    """
    store.forget(_strangers(reader, store.standings()))
    while True:
        stage = _next_stage(store.standings())
        reached = _run(reader, store, stage, progress)
        if reached is not None and stage.until is None:
            return reached


def anchor_of(recorded: Recorded) -> str:
    """Return a hash by which an event is known again."""
    place = f"{recorded.position} {recorded.stream} {recorded.version} ".encode()
    return hashlib.sha256(place + canonical_bytes(recorded.event)).hexdigest()


def _strangers(reader: EventReader, standings: Mapping[str, Standing]) -> list[str]:
    """Name the read models whose last event is not, or no more, the one that the log has there.

    Those that stand before the last removal of a segment tell of requests that have left the log.
    """
    removed = _last_removal(reader)
    found = {
        standing: _is_there(reader, standing) and not 0 < standing.position < removed
        for standing in set(standings.values())
    }
    return [name for name, standing in standings.items() if not found[standing]]


def _last_removal(reader: EventReader) -> int:
    """Return the position at which rows last left the log; 0 if none ever did, or all are back."""
    removals = [
        one.position for one in reader.stream(RETENTION_STREAM) if isinstance(one.event, SegmentRemoved)
    ]
    return removals[-1] if removals else 0


def _is_there(reader: EventReader, standing: Standing) -> bool:
    if not standing.position:
        return True
    event = next(iter(reader.read(standing.position - 1, standing.position)), None)
    return event is not None and anchor_of(event) == standing.anchor


def _next_stage(standings: Mapping[str, Standing]) -> _Stage:
    """Take those that are furthest behind, up to where others stand."""
    positions = sorted({standing.position for standing in standings.values()})
    start = positions[0]
    behind = tuple(name for name, standing in standings.items() if standing.position == start)
    return _Stage(behind, start, positions[1] if len(positions) > 1 else None)


def _run(reader: EventReader, store: ReadModelStore, stage: _Stage, progress: Progress) -> int | None:
    """Project one stage; return the position reached, or None if somebody else moved the read models."""
    projections = Projections(READ_MODELS[name] for name in stage.models)
    position = stage.start
    events = reader.read(stage.start, stage.until)
    for first in events:
        with without_collection():
            batch = _Batch(first, events)
            changes = projections.changes(batch)
            if not store.write(changes, Advance(stage.models, position, batch.end)):
                return None
            position = batch.last.position
            progress(batch.count)
    return position


class _Batch:
    """Events of one transaction, read while they are projected: to hold them all takes half as long again."""

    def __init__(self, first: Recorded, following: Iterator[Recorded]) -> None:
        self.last = first
        self.count = 0
        self._following = following

    def __iter__(self) -> Iterator[Recorded]:
        for recorded in chain((self.last,), islice(self._following, MOST_PROJECTED_EVENTS - 1)):
            self.last = recorded
            self.count += 1
            yield recorded

    def end(self) -> Standing:
        """Return where the read models stand after the events that were read."""
        return Standing(self.last.position, anchor_of(self.last))

"""What a reader finds where requests have left the log: never nothing, always the segment that holds them."""

from collections.abc import Iterable

from apikeyrouter.application.ports import EventReader
from apikeyrouter.application.retention.ports import Past
from apikeyrouter.domain.events import (
    RETENTION_STREAM,
    EventRef,
    request_stream,
)
from apikeyrouter.domain.models.system_error import ConflictError, NotFoundError
from apikeyrouter.domain.retention import Retention, Segment, Told

MOST_NAMED = 5
_REQUESTS = request_stream("")


class ArchivedError(NotFoundError):
    """What is asked for has left the log, and lies in a segment."""

    code = "archived"
    http_status = 410


def retention_of(reader: EventReader, until: int | None = None) -> Retention:
    """Fold what the log says of its own retention, up to a position."""
    retention = Retention()
    for recorded in reader.stream(RETENTION_STREAM):
        event, ref = recorded.event, EventRef(recorded.stream, recorded.version)
        if until is not None and recorded.position > until:
            break
        if isinstance(event, Told):
            retention.take(event, ref)
    return retention


def missing_segments(reader: EventReader, after: int = 0, until: int | None = None) -> list[Segment]:
    """Return the segments with positions in `after < position <= until` whose rows are not in the log.

    A restored log has them all. Rows are deleted from the first on, so a segment whose first row is there is
    there whole.
    """
    return [one for one in retention_of(reader).between(after, until) if not is_here(reader, one)]


def is_here(reader: EventReader, segment: Segment) -> bool:
    """Tell whether the rows of a segment are in the log."""
    first = segment.told.first
    return next(iter(reader.read(first - 1, first)), None) is not None


def refuse_gap_within(reader: EventReader, since_us: int, until_us: int) -> None:
    """Raise `ArchivedError` if events of a period have left the log, or may have."""
    names = set(archived_within(reader, (since_us, until_us)))
    if names:
        missing = [one for one in retention_of(reader).segments if one.name in names]
        raise ArchivedError(f"of that period, {told_of(missing)}", param="since")


def perhaps_archived(reader: EventReader, request_id: str) -> list[Segment]:
    """Return the segments that a request may be in that the log does not have."""
    return [one for one in retention_of(reader).perhaps_with(request_id) if not is_here(reader, one)]


def refuse_if_archived(reader: EventReader, request_id: str) -> None:
    """Raise `ArchivedError` if a request that the log does not have may be in a segment."""
    perhaps = perhaps_archived(reader, request_id)
    if perhaps:
        raise ArchivedError(
            f"request {request_id[:64]} is not in the log; of its time, {told_of(perhaps)}",
            param="request_id",
        )


def archived_names(reader: EventReader, streams: Iterable[str]) -> tuple[str, ...]:
    """Name the segments that streams of requests may be in; empty if there is no such stream."""
    ids = [stream.removeprefix(_REQUESTS) for stream in streams if stream.startswith(_REQUESTS)]
    if not ids:
        return ()
    found = {one.name for request_id in ids for one in perhaps_archived(reader, request_id)}
    return tuple(sorted(found))


def refuse_cut(past: Past, first: int, last: int) -> None:
    """Raise `ConflictError` if a node began anew within a range, so that no one world reaches across it."""
    (_, end), *others = past.stretches(first, last)
    if others:
        raise ConflictError(
            f"behind position {end} a node began without what had been archived, so its state did not grow"
            f" from what came before: ask up to there (--to {end}), or from there on (--from {end + 1})",
            param="from",
        )


def archived_within(reader: EventReader, period: tuple[int | None, int | None]) -> tuple[str, ...]:
    """Name the segments that hold events of a period, or may, and whose rows are not in the log."""
    segments = retention_of(reader).within(*period)
    return tuple(one.name for one in segments if not is_here(reader, one))


def told_of(segments: Iterable[Segment]) -> str:
    """Name segments, and say what can be done."""
    listed = list(segments)
    names = ", ".join(one.name for one in listed[:MOST_NAMED])
    more = f" and {len(listed) - MOST_NAMED} more" if len(listed) > MOST_NAMED else ""
    return (
        f"requests were archived in {names}{more}. Put the segments back where they were made, or make a"
        " whole log with `apikeyrouter retention restore`"
    )

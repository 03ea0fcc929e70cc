"""The state as it stood at a position of the log or at an instant; the past is folded, never stored."""

from datetime import UTC, datetime
from typing import NamedTuple

from apikeyrouter.application.ports import EventReader
from apikeyrouter.application.retention.gaps import retention_of
from apikeyrouter.application.snapshots.folding import folded, is_outlived
from apikeyrouter.application.snapshots.ports import NO_SNAPSHOTS, Snapshots
from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.domain.state import RouterState
from apikeyrouter.domain.windows import epoch_us


class Moment(NamedTuple):
    """A place in the past: behind the event at `position`, or, where that is None, at `at_us`."""

    position: int | None = None
    at_us: int = 0


def moment_of(text: str) -> Moment:
    """Read a position, or an instant in ISO 8601; one without an offset is meant in UTC."""
    if text.isascii() and text.isdigit() and len(text) < 19:
        return Moment(position=int(text))
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequestError(
            f"{text[:40]!r} is neither a position of the log nor a time such as 2026-03-01T12:00:00Z",
            param="at",
        ) from None
    return Moment(at_us=epoch_us(at if at.tzinfo is not None else at.replace(tzinfo=UTC)))


def state_at(reader: EventReader, moment: Moment, snapshots: Snapshots = NO_SNAPSHOTS) -> RouterState:
    """Fold the log up to a moment, from the nearest snapshot on.

    Up to an instant means: up to the first event that bears a later time. What leaves its window by then is
    gone, as for a decision at that instant.
    """
    if moment.position is not None:
        return _behind(reader, moment.position, snapshots)
    state = _at(reader, moment.at_us, None, snapshots)
    for refold in reversed(retention_of(reader).refolds):
        if state.position <= refold.behind:  # it was not folded anew yet: what had left it counts
            state = _at(reader, moment.at_us, refold.behind, snapshots)
    state.advance(moment.at_us)
    return state


def _at(reader: EventReader, at_us: int, until: int | None, snapshots: Snapshots) -> RouterState:
    base, state = snapshots.nearest(until, at_us=at_us) or (0, RouterState())
    if base and is_outlived(reader, base, until):
        base, state = 0, RouterState()
    for recorded in reader.read(after=base, until=until):
        if recorded.event.at_us > at_us:
            break
        state.evolve(*recorded)
    return state


def _behind(reader: EventReader, position: int, snapshots: Snapshots) -> RouterState:
    state = folded(reader, snapshots, until=position)
    if state.position < position:
        raise InvalidRequestError(
            f"the log ends at position {state.position:,}, before {position:,}", param="at"
        )
    return state

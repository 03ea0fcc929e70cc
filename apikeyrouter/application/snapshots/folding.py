"""The one way to a state: the nearest snapshot, and the events behind it; without one, all events."""

from typing import NamedTuple

from apikeyrouter.application.ports import EventReader
from apikeyrouter.application.retention.gaps import retention_of
from apikeyrouter.application.snapshots.ports import Snapshots
from apikeyrouter.domain.models.system_error import ConflictError, NotFoundError
from apikeyrouter.domain.state import RouterState


class Present(NamedTuple):
    """The state behind the last event. `without` is how many events could not be had, and `reason` why.

    `base` is the position of the snapshot that folding went on from, 0 for the beginning.
    """

    base: int
    state: RouterState
    without: int = 0
    reason: str = ""


def folded(reader: EventReader, snapshots: Snapshots, until: int | None = None) -> RouterState:
    """Return the state behind the event at `until`, or behind the last one."""
    _, state = folded_on(reader, snapshots, until)
    return state


def folded_on(reader: EventReader, snapshots: Snapshots, until: int | None = None) -> tuple[int, RouterState]:
    """Return the position that folding went on from, 0 for the beginning, and the state."""
    base, state = snapshots.nearest(until) or (0, RouterState())
    if base and is_outlived(reader, base, until):
        base, state = 0, RouterState()
    return base, state.fold(reader.read(after=base, until=until))


def is_outlived(reader: EventReader, base: int, until: int | None = None) -> bool:
    """Tell whether a node began anew behind a snapshot, so that no later state grew from that."""
    refold = retention_of(reader).refold_before(until)
    return refold is not None and base <= refold.behind


def present(past: EventReader, left: EventReader, snapshots: Snapshots) -> Present:
    """Return the exact state if all that it comes from is at hand, else a fold of what is left in the log.

    `past` reads the log with what has left it, `left` the log alone.
    """
    try:
        return Present(*folded_on(past, snapshots))
    except (NotFoundError, ConflictError) as error:
        dropped = retention_of(left).dropped
        state = RouterState().fold(one for one in left.read() if one.position not in dropped)
        return Present(0, state, dropped.count, error.message)

"""The one way to a state: the nearest snapshot, and the events behind it; without one, all events."""

from apikeyrouter.application.ports import EventReader
from apikeyrouter.application.snapshots.ports import Snapshots
from apikeyrouter.domain.state import RouterState


def folded(reader: EventReader, snapshots: Snapshots, until: int | None = None) -> RouterState:
    """Return the state behind the event at `until`, or behind the last one."""
    _, state = folded_on(reader, snapshots, until)
    return state


def folded_on(reader: EventReader, snapshots: Snapshots, until: int | None = None) -> tuple[int, RouterState]:
    """Return the position that folding went on from, 0 for the beginning, and the state."""
    base, state = snapshots.nearest(until) or (0, RouterState())
    return base, state.fold(reader.read(after=base, until=until))

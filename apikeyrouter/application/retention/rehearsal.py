"""Fold the log as it would be, beside the log as it is, until both count the same money and quotas.

From there on they count the same for ever, since an account's future follows from its present and from events
that both have. So nothing leaves the log on the strength of an argument about windows alone.
"""

from collections.abc import Callable, Iterator

import msgspec

from apikeyrouter.application.ports import EventReader
from apikeyrouter.application.retention.choosing import unhurried
from apikeyrouter.domain.events import Recorded
from apikeyrouter.domain.positions import Positions
from apikeyrouter.domain.same_accounts import first_difference
from apikeyrouter.domain.state import RouterState

COMPARED_EVERY = 500


class Rehearsed(msgspec.Struct, frozen=True):
    """Where both states came together; `difference` names what still differed at the end, if they did not."""

    together_at: int | None
    difference: str | None


def rehearse(
    reader: EventReader,
    leaving: Positions,
    whole: tuple[int, RouterState] | None,
    *,
    now_us: int,
    at_base: Callable[[RouterState], None],
    pause: Callable[[], None] = lambda: None,
) -> Rehearsed:
    """Fold both; `whole` is a state of the log as it is that was kept, with its position.

    What comes behind the last event is recorded at `now_us` or later: at the end it is compared as of then.
    `at_base` is shown the state at the last position that would leave, before it is folded on.
    """
    base = leaving.runs()[-1][1]
    position, as_it_is = whole or (0, RouterState())
    as_it_would_be = RouterState()
    for recorded in unhurried(reader.read(until=base), pause):
        if recorded.position > position:
            as_it_is.evolve(*recorded)
        if recorded.position not in leaving:
            as_it_would_be.evolve(*recorded)
    at_base(as_it_is)
    together = _together(unhurried(reader.read(after=base), pause), as_it_is, as_it_would_be, base)
    if together.difference is None:
        return together
    difference = first_difference(as_it_is, as_it_would_be, now_us)
    return Rehearsed(None if difference else as_it_is.position + 1, difference)


def _together(events: Iterator[Recorded], one: RouterState, other: RouterState, base: int) -> Rehearsed:
    position, difference = base, first_difference(one, other)
    for number, recorded in enumerate(events, 1):
        if difference is None:
            break
        one.evolve(*recorded)
        other.evolve(*recorded)
        position = recorded.position
        if number % COMPARED_EVERY == 0:
            difference = first_difference(one, other)
    difference = difference and first_difference(one, other)
    return Rehearsed(None if difference else position, difference)

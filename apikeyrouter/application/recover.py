"""Begin and end in good order: requests whose process died are closed before a new one is let in."""

from apikeyrouter.application.journal import Journal
from apikeyrouter.application.ports import Clock
from apikeyrouter.application.upkeep import Upkeep
from apikeyrouter.domain.events import (
    LOG_STREAM,
    Event,
    EventRef,
    NewEvent,
    NodeStarted,
    NodeStopped,
    RequestReleased,
)
from apikeyrouter.domain.request_folds import PROCESS_DIED

RELEASES_PER_APPEND = 100


async def start_node(journal: Journal, clock: Clock, node_id: str, version: str) -> int:
    """Announce this process in the log and release what an earlier one left open; return how many."""
    await _announce(journal, NodeStarted(at_us=clock.now_us(), node_id=node_id, version=version))
    releases = _releases(journal, clock.now_us())
    for first in range(0, len(releases), RELEASES_PER_APPEND):
        await journal.settled(journal.record(releases[first : first + RELEASES_PER_APPEND]))
    upkeep = Upkeep(journal)
    if journal.state.budgets.due:
        upkeep.alert(clock.now_us(), EventRef(releases[-1].stream, releases[-1].version))
    upkeep.drain_idle(clock.now_us())
    return len(releases)


async def stop_node(journal: Journal, clock: Clock, node_id: str) -> None:
    """Say in the log that this process ended on purpose."""
    await _announce(journal, NodeStopped(at_us=clock.now_us(), node_id=node_id))


def _releases(journal: Journal, at_us: int) -> list[NewEvent]:
    state = journal.state
    return [
        NewEvent(
            stream,
            request.version + 1,
            RequestReleased(
                at_us=at_us,
                attempt=request.attempt,
                key_id=request.key_id or "",
                trigger=PROCESS_DIED,
                charged_nano_usd=0 if request.key_id is None else request.cost_bound_nano_usd,
            ),
        )
        for stream, request in state.open_requests.items()
    ]


async def _announce(journal: Journal, event: Event) -> None:
    await journal.settled(journal.record_next(LOG_STREAM, event))

"""Choose what may leave the log: whole requests that ended before the cut, and that no hold covers."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from apikeyrouter.application.ports import EventReader
from apikeyrouter.domain.events import (
    Recorded,
    RequestCancelled,
    RequestCompleted,
    RequestFailed,
    RequestReleased,
    RouteDecided,
    RouteRefused,
    request_stream,
)
from apikeyrouter.domain.holds import Holds, HoldScope
from apikeyrouter.domain.positions import Positions, alternating, runs_of
from apikeyrouter.domain.retention_cut import Cut, cut_of
from apikeyrouter.domain.state import RouterState
from apikeyrouter.limits import MOST_SEGMENT_EVENTS

ENDS = RequestCompleted | RequestFailed | RequestCancelled | RequestReleased | RouteRefused
REQUESTS = request_stream("")
MOST_SEGMENTS = 100
"""Of one run: a million events. Run again for more."""

SubjectOf = Callable[[str], str | None]
"""Returns the pseudonym of the person a request was about, where that is known."""


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that leave together: their positions, as `alternating` counts them, and what they tell of."""

    first: int
    runs: tuple[int, ...]
    events: int
    requests: int
    from_us: int
    to_us: int
    clients: tuple[str, ...]

    def positions(self) -> Positions:
        """Return the positions."""
        return Positions(runs_of(self.first, self.runs))


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """All that may leave the log now, segment by segment, and how many requests stay, by the reason."""

    segments: tuple[Chosen, ...]
    kept: dict[str, int]

    @property
    def last(self) -> int:
        """The last position that would leave; 0 if none would."""
        return max((runs[-1][1] for one in self.segments if (runs := one.positions().runs())), default=0)

    def positions(self) -> Positions:
        """Return all positions that would leave."""
        return Positions(run for one in self.segments for run in runs_of(one.first, one.runs))


class OldRequest:
    """One request, as far as it was read."""

    def __init__(self) -> None:
        self.positions: list[int] = []
        self.times_us: list[int] = []
        self.client_id: str | None = None
        self.accounts: set[str] = set()

    def take(self, recorded: Recorded) -> None:
        """Read its next event."""
        event: Any = recorded.event
        self.positions.append(recorded.position)
        self.times_us.append(event.at_us)
        facts = getattr(event, "facts", None)
        self.client_id = self.client_id if facts is None else facts.client_id
        if isinstance(event, RouteDecided):
            self.accounts.update(one.account for one in event.reserved)


class Chooser:
    """Reads the log up to the cut, once."""

    def __init__(
        self, cut: Cut, holds: Holds, *, still_open: frozenset[str], subject_of: SubjectOf, most_events: int
    ) -> None:
        self._cut = cut
        self._holds = holds
        self._still_open = still_open
        self._subject_of = subject_of if _about_subjects(holds) else _nobody
        self._most_events = most_events
        self.kept: dict[str, int] = {}

    def choose(self, events: Iterator[Recorded], most_segments: int) -> Choice:
        """Return what may leave, as many segments as are wanted at most."""
        found: list[Chosen] = []
        batch: list[OldRequest] = []
        size = 0
        for request in self._old_requests(events):
            batch.append(request)
            size += len(request.positions)
            if size >= self._most_events:
                found.append(_chosen(batch))
                batch, size = [], 0
                if len(found) == most_segments:
                    break
        if batch:
            found.append(_chosen(batch))
        return Choice(segments=tuple(found), kept=self.kept)

    def _old_requests(self, events: Iterator[Recorded]) -> Iterator[OldRequest]:
        under_way: dict[str, OldRequest] = {}
        for recorded in events:
            if recorded.event.at_us >= self._cut.at_us or recorded.stream in self._still_open:
                return
            if not recorded.stream.startswith(REQUESTS):
                continue
            request = under_way.setdefault(recorded.stream, OldRequest())
            request.take(recorded)
            if isinstance(recorded.event, ENDS):
                del under_way[recorded.stream]
                if not self._stays(recorded.stream.removeprefix(REQUESTS), request):
                    yield request

    def _stays(self, request_id: str, request: OldRequest) -> bool:
        if request.accounts & self._cut.endless:
            reason = "endless_budget"
        elif self._is_held(request_id, request):
            reason = "legal_hold"
        else:
            return False
        self.kept[reason] = self.kept.get(reason, 0) + 1
        return True

    def _is_held(self, request_id: str, request: OldRequest) -> bool:
        if not self._holds:
            return False
        known = {
            "client_id": request.client_id,
            "request_id": request_id,
            "subject": self._subject_of(request_id),
        }
        return any(self._holds.covering(**known, at_us=at_us) is not None for at_us in request.times_us)


def choose(
    reader: EventReader, chooser: Chooser, *, most_segments: int, pause: Callable[[], None] = lambda: None
) -> Choice:
    """Choose from a log; `pause` is called now and then, so that others get a turn."""
    return chooser.choose(unhurried(reader.read(), pause), most_segments)


def old_enough(reader: EventReader, state: RouterState, now_us: int) -> tuple[Cut, Choice] | None:
    """Return what a run would choose now, a state being that of the log; None while everything is kept."""
    cut = cut_of(state, now_us)
    if cut is None:
        return None
    return cut, choose(reader, chooser_for(reader, state, cut), most_segments=MOST_SEGMENTS)


def chooser_for(
    reader: EventReader, state: RouterState, cut: Cut, most_events: int = MOST_SEGMENT_EVENTS
) -> Chooser:
    """Return who chooses by the holds and the open requests of a state."""

    def subject_of(request_id: str) -> str | None:
        captured = reader.stream(f"payload-{request_id}")
        return next((subject for one in captured if (subject := getattr(one.event, "subject", None))), None)

    return Chooser(
        cut,
        state.holds,
        still_open=frozenset({*state.open_requests, *map(request_stream, state.payloads.due)}),
        subject_of=subject_of,
        most_events=most_events,
    )


def unhurried(events: Iterator[Recorded], pause: Callable[[], None], every: int = 100) -> Iterator[Recorded]:
    """Pause after every so many events."""
    for number, recorded in enumerate(events, 1):
        yield recorded
        if number % every == 0:
            pause()


def _chosen(batch: list[OldRequest]) -> Chosen:
    positions = sorted(position for request in batch for position in request.positions)
    times_us = [at_us for request in batch for at_us in request.times_us]
    return Chosen(
        first=positions[0],
        runs=alternating(positions),
        events=len(positions),
        requests=len(batch),
        from_us=min(times_us),
        to_us=max(times_us),
        clients=tuple(sorted({request.client_id for request in batch if request.client_id})),
    )


def _about_subjects(holds: Holds) -> bool:
    return any(hold.scope is HoldScope.Subject for hold in holds.by_id.values())


def _nobody(_request_id: str) -> str | None:
    return None

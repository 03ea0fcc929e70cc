"""What the log tells of each request, read ahead of the run: the run asks early how a request will end."""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from apikeyrouter.domain.events import (
    AttemptFailed,
    Event,
    LogRecovered,
    Policy,
    Recorded,
    RequestCancelled,
    RequestCompleted,
    RequestFailed,
    RequestReleased,
    RouteDecided,
    RouteRefused,
)

LEAST_AHEAD = 256
MOST_AHEAD = 20_000
"""How many events are read ahead: enough to see an outage end, and some 50 MB where a request never does."""

ENDS = RequestCompleted | RequestFailed | RequestCancelled | RequestReleased | RouteRefused
REQUEST = "request-"


class Script(msgspec.Struct):
    """One request as it was recorded; `followed_us` is when what followed from a version was drawn."""

    stream: str
    events: list[Recorded]
    followed_us: dict[int, int]
    is_whole: bool = False

    @property
    def begins(self) -> bool:
        """True if the record has the request's beginning."""
        return self.events[0].version == 1

    def policy(self) -> Policy | None:
        """Return what the request was routed by, if it came to a decision."""
        events = (recorded.event for recorded in self.events)
        return next(
            (event.policy for event in events if isinstance(event, RouteDecided | RouteRefused)), None
        )

    def seed(self, attempt: int) -> int | None:
        """Return the seed that was drawn for an attempt."""
        return next((event.seed for event in self._asked() if event.attempt == attempt), None)

    def after(self, decided: RouteDecided) -> tuple[RouteDecided, Event, Event | None] | None:
        """Return the recorded decision for the same key at the same attempt, and the events after it."""
        for place, (_, _, _, event) in enumerate(self.events[:-1]):
            if isinstance(event, RouteDecided) and is_same_choice(event, decided):
                rest = self.events[place + 1 : place + 3]
                return event, rest[0].event, rest[1].event if len(rest) > 1 else None
        return None

    def breaks_at(self, version: int) -> bool:
        """Tell whether the attempt that failed at a version broke off an answer; its end settles that."""
        behind = next((event for _, _, place, event in self.events if place == version + 1), None)
        return isinstance(behind, RequestFailed) and behind.usage_source != "none"

    def _asked(self) -> Iterator[RouteDecided | RouteRefused]:
        events = (recorded.event for recorded in self.events)
        return (event for event in events if isinstance(event, RouteDecided | RouteRefused))

    def end(self) -> Event | None:
        """Return the last event, if the record has it."""
        return self.events[-1].event if self.is_whole else None


def is_same_choice(one: RouteDecided, other: RouteDecided) -> bool:
    """Tell whether two decisions send the same attempt of a request to the same key for the same model."""
    mine = one.attempt, one.chosen.key_id, one.model
    return mine == (other.attempt, other.chosen.key_id, other.model)


class Stimulus(msgspec.Struct):
    """A recorded event, and the script of the request that it belongs to or speaks of.

    `is_owed` marks what was written when the log worked again: nothing followed from it.
    """

    recorded: Recorded
    script: Script | None = None
    is_owed: bool = False


def stimuli(events: Iterable[Recorded]) -> Iterator[Stimulus]:
    """Yield the events in their order, each as late as its request is known whole."""
    ahead: deque[Stimulus] = deque()
    scripts: OrderedDict[str, Script] = OrderedDict()
    for recorded in events:
        ahead.append(_seen(recorded, scripts))
        if isinstance(recorded.event, LogRecovered):
            _mark_owed(ahead)
        while len(ahead) > LEAST_AHEAD and (_is_ready(ahead[0]) or len(ahead) > MOST_AHEAD):
            yield ahead.popleft()
    yield from ahead


def _seen(recorded: Recorded, scripts: OrderedDict[str, Script]) -> Stimulus:
    stream, event = recorded.stream, recorded.event
    if not stream.startswith(REQUEST):
        return Stimulus(recorded, _caused_by(recorded, scripts))
    script = scripts.get(stream)
    if script is None:
        script = scripts[stream] = Script(stream, [], {})
    script.events.append(recorded)
    if isinstance(event, ENDS):
        script.is_whole = True
        # What follows from an end is drawn right behind it: the script can still be found by then.
        _forget_one(scripts)
    return Stimulus(recorded, script)


def _caused_by(recorded: Recorded, scripts: Mapping[str, Script]) -> Script | None:
    """Return the script of the request that an event names as its evidence."""
    for ref in getattr(recorded.event, "evidence", ()):
        script = scripts.get(ref.stream)
        if script is not None:
            script.followed_us.setdefault(ref.version, recorded.event.at_us)
            return script
    return None


def _forget_one(scripts: OrderedDict[str, Script]) -> None:
    """Drop a script that ended long ago, if there are many; those that are open stay."""
    if len(scripts) > 2 * LEAST_AHEAD:
        stream, script = scripts.popitem(last=False)
        if not script.is_whole:
            scripts[stream] = script


def _is_ready(stimulus: Stimulus) -> bool:
    return stimulus.script is None or stimulus.script.is_whole


def _mark_owed(ahead: deque[Stimulus]) -> None:
    for place in range(len(ahead) - 2, -1, -1):
        stimulus = ahead[place]
        own = stimulus.recorded.stream.startswith(REQUEST)
        if not (own and isinstance(stimulus.recorded.event, AttemptFailed | ENDS)):
            return
        stimulus.is_owed = True

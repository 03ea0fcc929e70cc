"""Since which event a request is routed otherwise: passes over the log that ask ever closer together.

A pass asks at some places of a stretch and keeps the last two between which the answer became what it is at
the end; the next pass asks between those. Two passes find the event among a million. A difference that came
and went between two places of the first pass is not seen, unless every event is asked after.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from apikeyrouter.application.compared_by import By
from apikeyrouter.domain.events import Recorded, RouteDecided, RouteRefused
from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.domain.questions import RouteQuestion
from apikeyrouter.domain.routing import decide
from apikeyrouter.domain.state import RouterState

PLACES_A_PASS = 64
ASKED_ONE_BY_ONE = 8_192

Decision = RouteDecided | RouteRefused
Pass = Callable[[int], Iterable[Recorded]]
"""Begins to read the log anew, up to a position."""


class Answer(NamedTuple):
    """What was decided behind an event, and what of that is compared."""

    event: Recorded
    told: str
    decision: Decision


class _Asked(NamedTuple):
    """What one pass heard: how often it asked, the last answer, those beside the last change."""

    times: int
    last: Answer
    before: Answer | None
    after: Answer


class Turn(msgspec.Struct, frozen=True):
    """The event that turned it, and the decisions before and after it."""

    event: Recorded
    before: Decision
    after: Decision


class Bisection(msgspec.Struct, frozen=True):
    """What was found: no turn where the answer was the same wherever it was asked for."""

    first: int
    last: int
    asked: int
    passes: int
    now: str
    turn: Turn | None


def bisect(
    log: Pass, question: RouteQuestion, *, first: int, last: int, by: By = By.Key, every: bool = False
) -> Bisection:
    """Find the last event from position `first` to `last` behind which the answer became what it is."""
    low, high, asked, passes = first, last, 0, 0
    while True:
        one_by_one = every or high - low <= ASKED_ONE_BY_ONE
        heard = _ask(log(high), question, _places(low, high, one_by_one=one_by_one), by)
        passes, asked = passes + 1, asked + heard.times
        if heard.before is None or one_by_one:
            turn = _turn(heard)
            return Bisection(first, last, asked, passes, heard.last.told, turn)
        low, high = heard.before.event.position, heard.after.event.position


def _turn(heard: _Asked) -> Turn | None:
    if heard.before is None:
        return None
    return Turn(heard.after.event, heard.before.decision, heard.after.decision)


def told_of(decision: Decision, by: By) -> str:
    """Say of a decision what is compared."""
    if isinstance(decision, RouteRefused):
        return "refused" if by is By.Verdict else f"refused ({decision.reason})"
    return {
        By.Key: decision.chosen.key_id,
        By.Provider: decision.chosen.provider_id,
        By.Verdict: "routed",
    }[by]


def _places(low: int, high: int, *, one_by_one: bool) -> Sequence[int]:
    if one_by_one:
        return range(low, high + 1)
    return sorted({low + (high - low) * place // PLACES_A_PASS for place in range(PLACES_A_PASS + 1)})


def _ask(events: Iterable[Recorded], question: RouteQuestion, places: Iterable[int], by: By) -> _Asked:
    """Fold, and ask behind the events at these positions, as if the request came just then."""
    state = RouterState()
    before: Answer | None = None
    last: Answer | None = None
    after: Answer | None = None
    count = 0
    coming = iter(places)
    place = next(coming, None)
    for recorded in events:
        state.evolve(*recorded)
        if recorded.position != place:
            continue
        place, count = next(coming, None), count + 1
        decision = decide(state, msgspec.structs.replace(question, at_us=state.latest_us))
        answer = Answer(recorded, told_of(decision, by), decision)
        if last is None or last.told != answer.told:
            before, after = last, answer
        last = answer
    if last is None or after is None:
        raise InvalidRequestError("there are no events in that stretch of the log", param="from")
    return _Asked(count, last, before, after)

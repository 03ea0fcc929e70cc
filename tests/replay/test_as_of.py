"""The past as it was: the state at a position and at a time is what it was then."""

import msgspec
import pytest

from apikeyrouter.application.as_of import Moment, moment_of, state_at
from apikeyrouter.domain.events import RequestFacts, RouteDecided
from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.domain.objectives import policy_of
from apikeyrouter.domain.state import RouterState
from apikeyrouter.domain.windows import moment
from apikeyrouter.interfaces.state_views import SCOPES, candidates_view, state_view

FACTS = RequestFacts(operation="chat", model="gpt-4", input_tokens_bound=60, output_tokens_bound=8)


def folded(history, position: int) -> RouterState:
    return RouterState().fold(history[:position])


@pytest.mark.parametrize("scope", SCOPES)
def test_every_view_at_a_position_is_that_of_the_events_until_then(history, reader, scope):
    """Nothing that came later shows in a view of the past."""
    for position in (1, 40, len(history) // 2, len(history)):
        past = state_at(reader, Moment(position=position))
        assert state_view(past, scope) == state_view(folded(history, position), scope)


def test_a_time_is_the_last_event_that_is_not_later(history, reader):
    """The state at an instant has every event up to it, and what has left its window by then is gone."""
    middle = history[len(history) // 2]
    past = state_at(reader, moment_of(moment(middle.event.at_us).isoformat()))
    later = [recorded for recorded in history if recorded.event.at_us > middle.event.at_us]
    assert past.position == later[0].position - 1
    assert past.latest_us == middle.event.at_us


def test_a_day_before_the_first_event_is_empty(history, reader):
    """Before the log began there was nothing."""
    past = state_at(reader, moment_of(moment(history[0].event.at_us - 86_400_000_000).isoformat()))
    assert (past.position, past.keys) == (0, {})


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("0", Moment(position=0)),
        ("1200", Moment(position=1200)),
        ("1970-01-01T00:00:01Z", Moment(at_us=1_000_000)),
        ("1970-01-01T01:00:00.000001+01:00", Moment(at_us=1)),
        ("1970-01-02", Moment(at_us=86_400_000_000)),
    ],
)
def test_moments_are_positions_or_times(text, moment):
    """A number is a position; a time without an offset is meant in UTC."""
    assert moment_of(text) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "-1", "12:00", "9" * 30, "²"])
def test_what_is_neither_is_refused(text):
    """Nothing is guessed."""
    with pytest.raises(InvalidRequestError):
        moment_of(text)


def test_a_position_beyond_the_end_is_refused(history, reader):
    """The future is no past."""
    with pytest.raises(InvalidRequestError, match="ends at position"):
        state_at(reader, Moment(position=len(history) + 1))


def test_an_unknown_scope_names_those_there_are(history):
    """A wrong word is answered with the right ones."""
    with pytest.raises(InvalidRequestError, match="keys"):
        state_view(folded(history, 5), "kyes")


def test_candidates_are_those_of_a_recorded_decision(history, reader):
    """Asked behind the event before a decision, for the same request, the same key comes out."""
    decisions = [one for one in history if isinstance(one.event, RouteDecided) and not one.event.tried]
    for recorded in decisions[:: len(decisions) // 8]:
        event, past = recorded.event, state_at(reader, Moment(position=recorded.position - 1))
        past.advance(event.at_us)
        shown = candidates_view(past, event.facts, event.policy, event.seed)["candidates"]
        assert shown["chosen"] == event.chosen.key_id
        assert shown["candidates"][0] == msgspec.to_builtins(event.chosen)


def test_asking_for_candidates_moves_nothing(history):
    """A question leaves no trace in the state that was asked."""
    asked, untouched = folded(history, 200), folded(history, 200)
    candidates_view(asked, FACTS, policy_of("cost"))
    assert state_view(asked, "quotas") == state_view(untouched, "quotas")
    assert asked.latest_us == untouched.latest_us

"""The event since which a request is routed otherwise is found, by any size of log, and explained."""

import pytest
from priced_world import NOW_US, PricedWorld, question

from apikeyrouter.application import turning_point
from apikeyrouter.application.compared_by import By
from apikeyrouter.application.turning_point import bisect
from apikeyrouter.domain.events import (
    KeyRegistered,
    KeyStateChanged,
    Prices,
    PriceSet,
    Recorded,
    RouteDecided,
    RouteRefused,
)
from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.domain.objectives import policy_of

CHEAP, DEAR = Prices(input=1, output=1), Prices(input=900_000_000, output=900_000_000)


def world_of(events_between: int = 0) -> PricedWorld:
    """Two providers; the second becomes the cheaper one by the last of three prices that are set."""
    world = PricedWorld()
    for name in ("first", "second"):
        world.provider(name)
        world.key(f"k-{name}", name)
    world.price("first", CHEAP)
    world.price("second", DEAR)
    idle(world, events_between)
    world.price("first", DEAR)
    world.price("second", CHEAP)
    idle(world, events_between)
    return world


def idle(world: PricedWorld, count: int) -> None:
    """Let things happen that have nothing to do with it."""
    for _ in range(count):
        world.price("elsewhere", CHEAP)


def log_of(world: PricedWorld):
    recorded = [Recorded(position, *new) for position, new in enumerate(world.log, 1)]
    return lambda high: iter(recorded[:high])


def find(world: PricedWorld, by: By = By.Provider, **options):
    span = {"first": 1, "last": len(world.log), **options}
    return bisect(log_of(world), question(policy_of("cost")), by=by, **span)


def test_the_price_that_turned_it_is_named():
    """Before it the first provider was chosen, behind it the second, and both decisions tell why."""
    found = find(world_of())
    assert found.now == "second"
    assert isinstance(found.turn.event.event, PriceSet)
    assert found.turn.event.event.provider_id in {"first", "second"}
    assert found.turn.before.chosen.provider_id == "first"
    assert found.turn.after.chosen.provider_id == "second"
    assert found.turn.before.chosen.cost > found.turn.before.others[0].cost


@pytest.mark.parametrize("events", [10, 100, 700])
def test_a_long_log_is_asked_few_times(monkeypatch, events):
    """Passes ask at a few places, ever closer together: the same event is found as by asking everywhere."""
    monkeypatch.setattr(turning_point, "ASKED_ONE_BY_ONE", 16)
    world = world_of(events)
    found, everywhere = find(world), find(world, every=True)
    assert found.turn == everywhere.turn
    assert everywhere.asked == len(world.log)
    assert found.asked < 260
    assert found.passes <= 4


def test_what_never_changed_has_no_turn():
    """The same answer wherever it is asked, and that is said."""
    world = PricedWorld()
    world.provider()
    world.key("only")
    idle(world, 20)
    found = find(world, first=3)
    assert found.turn is None
    assert found.now == "openai"


def test_a_refusal_is_an_answer_too():
    """A key that was disabled: since then nobody serves, and the event says so."""
    world = PricedWorld()
    world.provider()
    world.key("only")
    idle(world, 5)
    changed = KeyStateChanged(
        at_us=NOW_US,
        actor="test",
        from_state="available",
        to_state="disabled",
        trigger="disabled_by_hand",
    )
    position = len(world.log) + 1
    world.append("key-only", changed)
    idle(world, 5)
    for by in By:
        found = find(world, by)
        assert found.turn.event.position == position
        assert isinstance(found.turn.before, RouteDecided)
        assert isinstance(found.turn.after, RouteRefused)


def test_the_first_key_turns_a_refusal_into_a_choice():
    """Looked at from the beginning, the event is the registration."""
    world = PricedWorld()
    world.provider()
    idle(world, 3)
    world.key("only")
    found = find(world, By.Verdict)
    assert isinstance(found.turn.event.event, KeyRegistered)
    assert found.now == "routed"


def test_an_empty_stretch_is_refused():
    """There is nothing to be asked where there are no events."""
    world = world_of()
    with pytest.raises(InvalidRequestError):
        find(world, first=len(world.log) + 5, last=len(world.log) + 9)

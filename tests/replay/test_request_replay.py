"""One request, step by step, and sent through the real line again: the same events to the byte."""

import asyncio
from collections import Counter, defaultdict

import msgspec
import pytest
from histories import struck
from loopback import scripted
from quota_givens import ask, asking, held, provide, running_node

from apikeyrouter.application.reenact import reenact
from apikeyrouter.application.retrace import retrace
from apikeyrouter.domain.events import (
    AttemptFailed,
    KeyStateChanged,
    Recorded,
    RequestCompleted,
    RequestFailed,
    RouteDecided,
    RouteRefused,
)
from apikeyrouter.interfaces.scripted_provider import KeyScript, ScriptedProvider
from apikeyrouter.settings import RouterSettings


def by_request(events) -> dict[str, list[Recorded]]:
    found = defaultdict(list)
    for recorded in events:
        if recorded.stream.startswith("request-"):
            found[recorded.stream].append(recorded)
    return found


def test_every_request_comes_out_of_the_line_as_it_did(history):
    """Failovers, cut streams, settlements, waits, and what followed for keys: the same bytes."""
    seen = Counter()
    for own in by_request(history).values():
        again = reenact(history, own)
        if again.unable is not None:
            assert "queue" in again.unable or "outside" in again.unable
            continue
        assert again.identical, (again.different, own)
        seen.update(type(recorded.event) for recorded in again.made)
    assert {RouteDecided, AttemptFailed, RequestCompleted, RequestFailed, KeyStateChanged} <= seen.keys()


def test_an_altered_event_does_not_come_out_again(history):
    """The comparison sees a single number that is not what the line writes."""
    own = next(own for own in by_request(history).values() if isinstance(own[-1].event, RequestCompleted))
    forged = msgspec.structs.replace(own[-1].event, cost_nano_usd=1)
    events = [one._replace(event=forged) if one.position == own[-1].position else one for one in history]
    again = reenact(events, [*own[:-1], own[-1]._replace(event=forged)])
    assert again.different is not None
    assert again.different.field == "cost_nano_usd"


def test_a_missing_consequence_is_seen(history):
    """What followed from a request has to follow again; an event that is gone, or one too many, differs."""
    caused = next(
        one
        for one in history
        if isinstance(one.event, KeyStateChanged)
        and one.event.evidence
        and one.event.evidence[0].stream.startswith("request-")
    )
    own = by_request(history)[caused.event.evidence[0].stream]
    without = [one for one in history if one.position != caused.position]
    assert reenact(history, own).identical
    assert not reenact(without, own).identical


async def test_a_request_that_waited_in_vain_comes_out_refused_at_once():
    """The wait of a second takes none when it is replayed."""
    settings = RouterSettings(queue_timeout_s=0.3)
    script = scripted(a=KeyScript(hold=True))
    async with ScriptedProvider(script) as provider, running_node(settings) as node:
        await provide(node, provider, a={"max_concurrency": 1})
        first = asyncio.create_task(ask(node, asking("first")))
        await held(provider, "a", 1)
        assert await ask(node, asking("late")) == 429
        provider.change_key("a", hold=False)
        assert await first == 200
        events = list(node.reader.read())
    own = next(own for own in by_request(events).values() if isinstance(own[-1].event, RouteRefused))
    again = await asyncio.to_thread(reenact, events, own)
    assert again.unable is None
    assert again.identical, again.different
    assert len(again.made) == 2


async def test_a_request_that_gives_up_after_its_attempts_comes_out_failed():
    """As many attempts as were made, and the same end."""
    settings = RouterSettings(max_attempts=2)
    script = scripted(a=struck(500, first=9), b=struck(500, first=9), c=struck(500, first=9))
    async with ScriptedProvider(script) as provider, running_node(settings) as node:
        await provide(node, provider, a={}, b={}, c={})
        assert await ask(node) >= 500
        events = list(node.reader.read())
    (own,) = by_request(events).values()
    again = await asyncio.to_thread(reenact, events, own)
    assert again.identical, again.different
    assert isinstance(again.made[-1].event, RequestFailed)


def test_an_open_request_says_why_it_is_not_sent_again(history):
    """Half a request has no end to compare with."""
    own = next(own for own in by_request(history).values() if len(own) > 1)
    assert "not ended" in reenact(history, own[:1]).unable


class TestSteps:
    """What each event of a request changed."""

    @pytest.fixture
    def steps(self, history):
        own = next(
            own
            for own in by_request(history).values()
            if any(isinstance(one.event, AttemptFailed) and one.event.effect == "invalidate" for one in own)
        )
        return retrace(iter(history), own[0].stream, own)

    def test_the_steps_are_the_requests_events_and_what_followed(self, steps):
        """In their order, the key that was rejected among them."""
        positions = [step.recorded.position for step in steps]
        assert positions == sorted(positions)
        rejected = next(step for step in steps if isinstance(step.recorded.event, KeyStateChanged))
        changed = {name.rpartition(".")[2]: pair for name, pair in rejected.changed.items()}
        assert changed["state"] == ("available", "invalid")

    def test_a_decision_opens_and_an_end_closes(self, steps):
        """Each figure tells what it was before and after."""
        assert steps[0].changed["request.is_open"] == (False, True)
        assert steps[-1].changed["request.is_open"] == (True, False)
        key_id = steps[0].recorded.event.chosen.key_id
        before, after = steps[0].changed[f"key.{key_id}.in_flight"]
        assert after == before + 1

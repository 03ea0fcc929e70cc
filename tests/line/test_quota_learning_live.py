"""Limits that nobody declared are learned from the provider's answers, with evidence, and spare refusals."""

import asyncio

import pytest
from loopback import MODEL, scripted
from quota_givens import (
    SECOND_US,
    WallClock,
    account,
    ask,
    ask_all,
    asking,
    in_good_order,
    provide,
    running_node,
    story,
)

from apikeyrouter.application.learning import Learning
from apikeyrouter.domain.events import AttemptFailed, QuotaCorrected, QuotaLimitLearned
from apikeyrouter.interfaces.scripted_provider import Fault, FaultKind, KeyScript, ScriptedProvider
from apikeyrouter.settings import RouterSettings


@pytest.fixture
def clock(monkeypatch):
    return WallClock(monkeypatch)


def provider_of(clock, **keys: KeyScript) -> ScriptedProvider:
    """A provider that lives by the same clock as the node."""
    return ScriptedProvider(scripted(**keys), clock=lambda: clock.now_us)


async def in_good_order_with_evidence(node) -> None:
    """Books balance, decisions come out again, and what was learned names events that are there."""
    await in_good_order(node)
    events = list(node.reader.read())
    places = {(recorded.stream, recorded.version) for recorded in events}
    learned = [e.event for e in events if isinstance(e.event, QuotaLimitLearned | QuotaCorrected)]
    assert all(event.evidence for event in learned)
    assert all((ref.stream, ref.version) in places for event in learned for ref in event.evidence)


def requests_of(node, key_id: str):
    return account(node, f"key-{key_id}/requests/minute/{MODEL}")


async def test_the_first_answer_tells_the_limits(clock):
    """Requests and tokens a minute are known after one answer, soon also how they run, and that is all."""
    async with provider_of(clock, a=KeyScript(rpm=60, tpm=5000)) as provider, running_node() as node:
        (key_id,) = await provide(node, provider, a={})
        assert await ask(node) == 200
        learned = {event.dimension: event for event in story(node, QuotaLimitLearned)}
        assert {name: event.limit for name, event in learned.items()} == {"requests": 60, "tokens": 5000}
        assert {event.source for event in learned.values()} == {"learned_from_headers"}
        assert {event.models for event in learned.values()} == {(MODEL,)}
        assert (await ask_all(node, 20)) == {200: 20}
        known = [(event.dimension, event.limit, event.kind) for event in story(node, QuotaLimitLearned)]
        assert {(dimension, limit) for dimension, limit, _ in known} == {("requests", 60), ("tokens", 5000)}
        assert len(set(known)) == len(known)
        assert requests_of(node, key_id).limit == 60
        await in_good_order_with_evidence(node)


async def test_what_others_have_used_of_a_key_is_noticed(clock):
    """The provider says that less is left than this node has used: the rest was somebody else."""
    async with provider_of(clock, a=KeyScript(rpm=60, fill=0.5)) as provider, running_node() as node:
        (key_id,) = await provide(node, provider, a={})
        assert await ask(node) == 200
        assert requests_of(node, key_id).remaining == 29
        assert len(story(node, QuotaCorrected)) == 1
        await in_good_order_with_evidence(node)


async def test_a_limit_that_is_halved_on_the_way_is_noticed(clock):
    """The very next answer tells; what was used before counts against the new limit."""
    async with provider_of(clock, a=KeyScript(rpm=60)) as provider, running_node() as node:
        (key_id,) = await provide(node, provider, a={})
        assert (await ask_all(node, 4)) == {200: 4}
        provider.change_key("a", rpm=30)
        assert await ask(node) == 200
        assert story(node, QuotaLimitLearned)[-1].limit == 30
        assert requests_of(node, key_id).limit == 30
        assert requests_of(node, key_id).settled >= 1
        await in_good_order_with_evidence(node)


async def test_a_declared_limit_is_lowered_by_what_the_provider_says_and_never_raised(clock):
    """Forty are declared: a provider that allows 20 is believed, one that allows 60 changes nothing."""
    async with provider_of(clock, a=KeyScript(rpm=20), b=KeyScript(rpm=60)) as provider:
        for name, holds in (("a", 20), ("b", 40)):
            async with running_node() as node:
                (key_id,) = await provide(node, provider, **{name: {f"rpm:{MODEL}": 40}})
                assert await ask(node) == 200
                assert requests_of(node, key_id).limit == holds
                await in_good_order_with_evidence(node)


async def test_what_was_learned_outlives_a_restart_and_a_changed_declaration(clock, tmp_path):
    """The log remembers; a new weight is no reason to run into the same limit again."""
    settings = RouterSettings(database_url=str(tmp_path / "log.db"), synchronous="NORMAL")
    async with provider_of(clock, a=KeyScript(rpm=10)) as provider:
        async with running_node(settings) as node:
            (key_id,) = await provide(node, provider, a={})
            assert (await ask_all(node, 5, at_once=1)) == {200: 5}
        async with running_node(settings) as node:
            await node.manage.change_key_metadata(key_id, {"weight": 2}, actor="test")
            assert requests_of(node, key_id).limit == 10
            assert (await ask_all(node, 64)) == {200: 5, 429: 59}
            assert not story(node, AttemptFailed)
            await in_good_order_with_evidence(node)


async def refusals_of_a_busy_key(clock, settings=None) -> int:
    """Ask three times as often as the provider allows, and count how often it must refuse."""
    async with provider_of(clock, a=KeyScript(rpm=60)) as provider, running_node(settings) as node:
        await provide(node, provider, a={})
        for _ in range(50):
            await asyncio.gather(*(ask(node, asking()) for _ in range(3)))
            clock.pass_us(SECOND_US)
        await in_good_order_with_evidence(node)
        return provider.ledger(0).keys["a"].by_status.get(429, 0)


async def test_learning_spares_refusals(clock, monkeypatch):
    """Without it a busy key is refused again and again; with it hardly ever."""
    with_learning = await refusals_of_a_busy_key(clock)
    monkeypatch.setattr(Learning, "answered", lambda *_: None)
    monkeypatch.setattr(Learning, "refused", lambda *_: None)
    without = await refusals_of_a_busy_key(clock)
    assert without >= 8
    assert with_learning * 5 <= without, (with_learning, without)


async def test_refusals_that_name_no_numbers_lead_to_a_guess(clock):
    """Two 429s, apart and near, at twenty a minute: the guess lies below that, and is kept."""
    silent = KeyScript(
        faults=tuple(Fault(kind=FaultKind.Status, status=429, after=after, first=1) for after in (20, 30))
    )
    async with provider_of(clock, a=silent) as provider, running_node() as node:
        (key_id,) = await provide(node, provider, a={})
        for _ in range(32):
            await ask(node)
            clock.pass_us(3 * SECOND_US)
        (guess,) = story(node, QuotaLimitLearned)
        assert guess.source == "learned_from_refusal"
        assert 5 <= guess.limit < 25
        (ref,) = guess.evidence
        failed = {(e.stream, e.version) for e in node.reader.read() if isinstance(e.event, AttemptFailed)}
        assert (ref.stream, ref.version) in failed
        assert requests_of(node, key_id).limit >= guess.limit
        await in_good_order_with_evidence(node)

"""Requests that wait for capacity: in order, in turns, with an end to it, and nothing held if they leave."""

import asyncio
import contextlib

import pytest
from loopback import eventually, scripted
from quota_givens import (
    MINUTE_US,
    SECOND_US,
    WallClock,
    ask,
    ask_all,
    asking,
    calls,
    held,
    in_good_order,
    provide,
    running_node,
    story,
)

from apikeyrouter import ApiKeyRouter
from apikeyrouter.adapters.providers.openai import OpenAIAdapter
from apikeyrouter.application import waiting
from apikeyrouter.domain.events import (
    RequestCompleted,
    RequestReleased,
    RouteDecided,
    RouteDeferred,
    RouteRefused,
)
from apikeyrouter.domain.models.system_error import LogUnavailableError, NoEligibleKeysError, SystemError  # noqa: A004
from apikeyrouter.interfaces.scripted_provider import Fault, FaultKind, KeyScript, ScriptedProvider
from apikeyrouter.settings import RouterSettings

PATIENT = RouterSettings(queue_timeout_s=20)
ONE_AT_A_TIME = {"max_concurrency": 1}
HELD = KeyScript(hold=True)


async def queued(node, count: int) -> None:
    await eventually(lambda: node.route._waiting._count == count)


async def occupied(node, provider) -> asyncio.Task:
    """Let a call be held at the provider, so that nobody else is served."""
    task = asyncio.create_task(ask(node, asking("first")))
    await held(provider, "a", 1)
    return task


async def test_the_line_serves_in_order_within_a_client_and_in_turns_between_them():
    """Who has many requests waiting does not keep those out who have one."""
    async with ScriptedProvider(scripted(a=HELD)) as provider, running_node(PATIENT) as node:
        await provide(node, provider, a=ONE_AT_A_TIME)
        tasks = [await occupied(node, provider)]
        for place, name in enumerate("aaabcc"):
            tasks.append(asyncio.create_task(ask(node, asking(name, pad=place))))
            await queued(node, place + 1)
        provider.change_key("a", hold=False)
        assert set(await asyncio.gather(*tasks)) == {200}
        order = [(one.facts.client_id, one.facts.body_bytes) for one in story(node, RouteDecided)]
        size = asking("a").facts.body_bytes
        assert order[1:] == [
            (name, size + pad) for name, pad in zip("abcaca", (0, 3, 4, 1, 5, 2), strict=True)
        ]
        await in_good_order(node)


async def test_when_its_time_is_over_a_request_is_refused_and_that_is_recorded():
    """The day's only request is under way; who waits for it in vain hears when the next day begins."""
    settings = RouterSettings(queue_timeout_s=0.05)
    async with ScriptedProvider(scripted(a=HELD)) as provider, running_node(settings) as node:
        await provide(node, provider, a={"rpd": 1})
        first = await occupied(node, provider)
        with pytest.raises(NoEligibleKeysError) as refused:
            await node.route.execute(asking("late"))
        assert refused.value.http_status == 429
        assert refused.value.retry_after > 0
        deferred, refusal = story(node, RouteDeferred)[0], story(node, RouteRefused)[-1]
        assert deferred.wait_until_us - deferred.at_us == 50_000
        assert refusal.at_us >= deferred.wait_until_us - 5_000
        assert refusal.retry_at_us > refusal.at_us
        provider.change_key("a", hold=False)
        assert await first == 200
        await in_good_order(node)


async def test_a_waiting_client_that_leaves_is_released_and_holds_nothing():
    """Its place goes to the next, its request ends in the log, and its key never hears of it."""
    async with ScriptedProvider(scripted(a=HELD)) as provider, running_node(PATIENT) as node:
        await provide(node, provider, a=ONE_AT_A_TIME | {"rpd": 2})
        first = await occupied(node, provider)
        leaver, stayer = (asyncio.create_task(ask(node, asking(name))) for name in ("leaver", "stayer"))
        await queued(node, 2)
        leaver.cancel()
        await asyncio.wait([leaver])
        (released,) = story(node, RequestReleased)
        assert (released.key_id, released.trigger) == ("", "client_left")
        provider.change_key("a", hold=False)
        assert await asyncio.gather(first, stayer) == [200, 200]
        assert calls(provider) == 2
        await in_good_order(node)


async def test_what_could_not_be_served_in_time_is_refused_at_once(monkeypatch):
    """Room comes back in a minute and the client waits five seconds: it hears so now."""
    WallClock(monkeypatch)
    settings = RouterSettings(queue_timeout_s=5)
    async with ScriptedProvider(scripted("a")) as provider, running_node(settings) as node:
        await provide(node, provider, a={"rpm": 2})
        assert (await ask_all(node, 2)) == {200: 2}
        with pytest.raises(NoEligibleKeysError) as refused:
            await node.route.execute(asking())
        assert refused.value.retry_after == pytest.approx(MINUTE_US / SECOND_US)
        assert not story(node, RouteDeferred)
        await in_good_order(node)


async def test_what_fits_in_no_window_is_refused_at_once_though_others_are_under_way():
    """Whatever the others give back, a request larger than the limit will not fit."""
    async with ScriptedProvider(scripted(a=HELD)) as provider, running_node(PATIENT) as node:
        await provide(node, provider, a={"tpm": 500})
        first = await occupied(node, provider)
        assert await asyncio.wait_for(ask(node, asking(tokens=5000)), 2) == 429
        assert not story(node, RouteDeferred)
        provider.change_key("a", hold=False)
        assert await first == 200
        await in_good_order(node)


async def test_what_others_hold_is_waited_for():
    """The tokens that a call under way will not use are there when it ends, though no window ends in time."""
    bound = asking("x").facts.body_bytes + 8
    async with ScriptedProvider(scripted(a=HELD)) as provider, running_node(PATIENT) as node:
        await provide(node, provider, a={"tpd": 2 * bound - 1})
        first = await occupied(node, provider)
        second = asyncio.create_task(ask(node, asking("x")))
        await queued(node, 1)
        provider.change_key("a", hold=False)
        assert await asyncio.gather(first, second) == [200, 200]
        await in_good_order(node)


async def test_a_request_that_has_tried_a_key_does_not_stop_those_who_have_not():
    """One waits for the busy key since the other has failed it; that other serves everybody else."""
    failing_once = KeyScript(faults=(Fault(kind=FaultKind.Status, status=500, first=1),))
    async with ScriptedProvider(scripted(a=HELD, b=failing_once)) as provider, running_node(PATIENT) as node:
        await provide(node, provider, a=ONE_AT_A_TIME)
        first = await occupied(node, provider)
        await provide(node, provider, b={})
        choosy = asyncio.create_task(ask(node, asking("x")))
        await queued(node, 1)
        assert await asyncio.wait_for(ask(node, asking("y")), 5) == 200
        assert not choosy.done()
        provider.change_key("a", hold=False)
        assert await asyncio.gather(first, choosy) == [200, 200]
        await in_good_order(node)


async def test_a_refused_request_waits_until_its_key_has_rested():
    """A 429 that names a short wait costs patience, not the request."""
    limited = Fault(kind=FaultKind.Status, status=429, first=1, headers={"retry-after-ms": "60"})
    script = scripted(a=KeyScript(faults=(limited,)))
    async with ScriptedProvider(script) as provider, running_node(PATIENT) as node:
        await provide(node, provider, a={})
        assert await ask(node) == 200
        assert calls(provider) == 2
        await in_good_order(node)


async def test_a_rolling_second_paces_those_who_wait():
    """Twelve at once, five a second: all are served, and no second sees a sixth."""
    async with ScriptedProvider(scripted("a")) as provider, running_node(PATIENT) as node:
        await provide(node, provider, a={"rps": 5})
        assert (await ask_all(node, 12)) == {200: 12}
        at_us = [decided.at_us for decided in story(node, RouteDecided)]
        assert all(later - earlier >= SECOND_US for earlier, later in zip(at_us, at_us[5:], strict=False))
        await in_good_order(node)


async def test_a_full_room_takes_nobody_more(monkeypatch):
    """Who comes when too many wait is refused at once instead of joining them."""
    monkeypatch.setattr(waiting, "MOST_WAITING", 2)
    async with ScriptedProvider(scripted(a=HELD)) as provider, running_node(PATIENT) as node:
        await provide(node, provider, a=ONE_AT_A_TIME)
        tasks = [await occupied(node, provider)]
        tasks += [asyncio.create_task(ask(node)) for _ in range(2)]
        await queued(node, 2)
        assert await asyncio.wait_for(ask(node), 2) == 429
        provider.change_key("a", hold=False)
        assert set(await asyncio.gather(*tasks)) == {200}
        await in_good_order(node)


async def full_log(node) -> None:
    """Fill the log until it takes nothing more."""
    node.reader.limit_pages(0)
    key_id = next(iter(node.state.keys))
    metadata = {**node.state.keys[key_id].metadata, "note": "x" * 250}
    with contextlib.suppress(LogUnavailableError):
        while True:
            await node.manage.change_key_metadata(key_id, metadata, actor="test")


@pytest.fixture
def on_disk(tmp_path):
    return RouterSettings(database_url=str(tmp_path / "log.db"), queue_timeout_s=20)


async def test_whose_turn_comes_while_the_log_is_full_hears_that(on_disk):
    """No key is used without a record: 503, and nothing is called."""
    async with ScriptedProvider(scripted("a")) as provider, running_node(on_disk) as node:
        await provide(node, provider, a={"rps": 1})
        assert await ask(node) == 200
        waits = [asyncio.create_task(ask(node)) for _ in range(3)]
        await queued(node, 3)
        await full_log(node)
        assert await asyncio.wait_for(asyncio.gather(*waits), 5) == [503] * 3
        assert calls(provider) == 1
        node.reader.limit_pages(None)
        await eventually(lambda: node.ready, 10)
        assert await ask(node) == 200
        await in_good_order(node)


async def test_whoever_waits_when_an_outage_ends_is_not_forgotten(on_disk):
    """The call that held the key ended during the outage: those behind it go on once it is over."""
    async with ScriptedProvider(scripted(a=HELD)) as provider, running_node(on_disk) as node:
        await provide(node, provider, a=ONE_AT_A_TIME)
        first = await occupied(node, provider)
        second = asyncio.create_task(ask(node, asking("second")))
        await queued(node, 1)
        await full_log(node)
        provider.change_key("a", hold=False)
        assert await first == 503
        node.reader.limit_pages(None)
        await eventually(lambda: node.ready, 10)
        assert await asyncio.wait_for(second, 5) in {200, 503}
        await in_good_order(node)


async def test_closing_ends_the_waiting():
    """A router that closes keeps nobody waiting, and does not wait for them."""
    async with ScriptedProvider(scripted(a=HELD)) as provider:
        router = ApiKeyRouter(config=PATIENT)
        await router.register_provider("openai", OpenAIAdapter(base_url=provider.base_url))
        await router.register_key("sk-test-a", "openai", ONE_AT_A_TIME)
        intent = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hello!"}]}
        called = asyncio.create_task(router.route(intent))
        await held(provider, "a", 1)
        waits = [asyncio.create_task(router.route(intent)) for _ in range(2)]
        await queued(router._node, 2)
        await asyncio.wait_for(router.close(), 5)
        try:
            outcomes = await asyncio.wait_for(asyncio.gather(*waits, return_exceptions=True), 2)
        finally:
            called.cancel()
            await asyncio.wait([called])
        assert all(isinstance(outcome, SystemError) for outcome in outcomes)


async def test_nothing_goes_on_after_closing():
    """A call that ends after its router has closed does not wake the log: there is nothing to restore."""
    async with ScriptedProvider(scripted(a=HELD)) as provider:
        async with running_node() as node:
            await provide(node, provider, a={})
            called = await occupied(node, provider)
        called.cancel()
        await asyncio.wait([called])
        going_on = [task for task in asyncio.all_tasks() if "_restore" in repr(task)]
        for task in going_on:
            task.cancel()
        assert not going_on


async def test_a_request_that_can_never_fit_does_not_stand_in_the_way_of_others():
    """Behind others too it is refused at once, and never at the head of those who would fit."""
    async with ScriptedProvider(scripted(a=HELD)) as provider, running_node(PATIENT) as node:
        await provide(node, provider, a=ONE_AT_A_TIME | {"tpm": 500})
        tasks = [await occupied(node, provider), asyncio.create_task(ask(node, asking("x")))]
        await queued(node, 1)
        assert await asyncio.wait_for(ask(node, asking("x", tokens=5000)), 2) == 429
        provider.change_key("a", hold=False)
        assert await asyncio.gather(*tasks) == [200, 200]
        await in_good_order(node)


async def test_a_limit_that_sinks_while_they_wait_does_not_keep_those_who_still_fit(on_disk):
    """Who does not fit any more hears so; who does is served."""
    async with ScriptedProvider(scripted(a=HELD)) as provider, running_node(on_disk) as node:
        (key_id,) = await provide(node, provider, a=ONE_AT_A_TIME | {"tpm": 50_000})
        tasks = [await occupied(node, provider)]
        tasks += [asyncio.create_task(ask(node, asking("x", tokens=tokens))) for tokens in (5000, 8)]
        await queued(node, 2)
        await node.manage.change_key_metadata(key_id, ONE_AT_A_TIME | {"tpm": 500}, actor="test")
        provider.change_key("a", hold=False)
        assert await asyncio.wait_for(asyncio.gather(*tasks), 5) == [200, 429, 200]
        assert len(story(node, RequestCompleted)) == 2
        await in_good_order(node)

"""What managers do while requests are under way: draining and pinning, over HTTP and in the library."""

import asyncio
import contextlib

import pytest
from loopback import MODEL, QUESTION, RUN_KEY, eventually, material_of, running_proxy, scripted

from apikeyrouter import ApiKeyRouter
from apikeyrouter.adapters.providers.openai import OpenAIAdapter
from apikeyrouter.application.replay import verify
from apikeyrouter.domain.events import KeyStateChanged
from apikeyrouter.domain.models.api_key import KeyState
from apikeyrouter.interfaces.scripted_provider import Fault, FaultKind, KeyScript, ScriptedProvider
from apikeyrouter.settings import RouterSettings

HELD = KeyScript(hold=True)
INTENT = {"model": MODEL, "messages": QUESTION["messages"]}


def held_and_failing(status: int) -> KeyScript:
    return KeyScript(hold=True, faults=(Fault(kind=FaultKind.Status, status=status),))


def calls(provider: ScriptedProvider, name: str) -> int:
    return provider.ledger().keys[name].calls


async def command(proxy, name: str, act: str) -> dict:
    """Give a management command over HTTP and return the key as it is then."""
    path = f"/api/v1/keys/{proxy.key_ids[name]}/{act}"
    answer = await proxy.client.post(path, headers={"x-api-key": RUN_KEY})
    assert answer.status_code == 200, answer.text
    return answer.json()


def state_of(proxy, name: str) -> KeyState:
    return proxy.node.state.keys[proxy.key_ids[name]].state


def states(proxy, name: str) -> list[str]:
    stream = proxy.node.reader.stream(f"key-{proxy.key_ids[name]}")
    return [r.event.to_state for r in stream if isinstance(r.event, KeyStateChanged)]


@contextlib.asynccontextmanager
async def line_with_calls_under_way(count: int, script: KeyScript = HELD, *, stream=False, settings=None):
    """Hold calls on key a at the provider, and offer key b beside it."""
    async with ScriptedProvider(scripted("b", a=script)) as provider, running_proxy(settings) as proxy:
        await proxy.provide(provider, "a")
        asking = [asyncio.create_task(proxy.ask(stream=stream)) for _ in range(count)]
        await provider.until(lambda ledger: ledger.keys["a"].held == count)
        key = await proxy.node.manage.register_key(material_of("b"), "openai", actor="test")
        proxy.key_ids["b"] = key.key_id
        yield provider, proxy, asking


@pytest.mark.parametrize("stream", [False, True])
async def test_a_draining_key_finishes_what_it_has_and_gets_nothing_new(stream):
    """Requests under way are answered whole, new ones go elsewhere, and the last to end disables the key."""
    async with line_with_calls_under_way(3, stream=stream) as (provider, proxy, asking):
        drained = await command(proxy, "a", "drain")
        assert (drained["state"], drained["in_flight"]) == ("draining", 3)
        for _ in range(10):
            assert (await proxy.ask()).headers["x-akr-key-id"] == proxy.key_ids["b"]
        assert state_of(proxy, "a") is KeyState.Draining
        provider.change_key("a", hold=False)
        answers = await asyncio.gather(*asking)
        assert {answer.status_code for answer in answers} == {200}
        if stream:
            assert all(answer.text.rstrip().endswith("data: [DONE]") for answer in answers)
        await eventually(lambda: state_of(proxy, "a") is KeyState.Disabled)
        assert calls(provider, "a") == 3
        assert states(proxy, "a") == ["draining", "disabled"]
        assert verify(proxy.node.reader.read()).identical


async def test_a_draining_key_whose_clients_leave_is_disabled_too():
    """Whoever hangs up ends a request as well as an answer does."""
    async with line_with_calls_under_way(2) as (_, proxy, asking):
        await command(proxy, "a", "drain")
        for task in asking:
            assert state_of(proxy, "a") is KeyState.Draining
            task.cancel()
        await eventually(lambda: state_of(proxy, "a") is KeyState.Disabled)


async def test_a_draining_key_whose_last_call_fails_is_disabled_and_another_key_answers():
    """The failover of the last request is no reason to stay."""
    async with line_with_calls_under_way(1, held_and_failing(500)) as (provider, proxy, asking):
        await command(proxy, "a", "drain")
        provider.change_key("a", hold=False)
        answer = await asking[0]
        assert answer.status_code == 200
        assert answer.headers["x-akr-key-id"] == proxy.key_ids["b"]
        assert states(proxy, "a") == ["draining", "disabled"]


async def test_a_key_that_is_rejected_while_it_drains_is_invalid_when_it_is_enabled():
    """The provider's refusal is not forgotten by leaving."""
    async with line_with_calls_under_way(2, held_and_failing(401)) as (provider, proxy, asking):
        await command(proxy, "a", "drain")
        provider.change_key("a", hold=False)
        assert {answer.status_code for answer in await asyncio.gather(*asking)} == {200}
        assert (await command(proxy, "a", "enable"))["state"] == "invalid"


async def test_an_idle_key_is_drained_at_once_and_can_be_enabled_again():
    """Nothing to wait for; enabled, it serves."""
    async with ScriptedProvider(scripted("a")) as provider, running_proxy() as proxy:
        await proxy.provide(provider, "a")
        assert (await command(proxy, "a", "drain"))["state"] == "disabled"
        assert (await proxy.ask()).status_code == 503
        assert (await command(proxy, "a", "enable"))["state"] == "available"
        assert (await proxy.ask()).status_code == 200


async def test_a_key_whose_process_died_while_it_drained_is_disabled_at_the_next_start(tmp_path):
    """Its calls ended with the process."""
    settings = RouterSettings(database_url=str(tmp_path / "log.db"))
    async with ScriptedProvider(scripted(a=HELD)) as provider:
        async with running_proxy(settings) as proxy:
            await proxy.provide(provider, "a")
            asking = asyncio.create_task(proxy.ask())
            await provider.until(lambda ledger: ledger.keys["a"].held == 1)
            await command(proxy, "a", "drain")
            await proxy.node.journal.log.close()
            asking.cancel()
        async with running_proxy(settings) as again:
            again.key_ids = proxy.key_ids
            assert states(again, "a") == ["draining", "disabled"]


async def test_a_draining_key_whose_last_end_was_owed_to_the_log_is_disabled_after_the_outage(tmp_path):
    """The end of its last request is owed to the log during an outage, and so is what follows from it."""
    settings = RouterSettings(database_url=str(tmp_path / "log.db"))
    async with line_with_calls_under_way(1, settings=settings) as (provider, proxy, asking):
        await command(proxy, "a", "drain")
        proxy.node.reader.limit_pages(0)
        async with asyncio.timeout(20):
            while (await proxy.ask()).status_code != 503:
                pass
        provider.change_key("a", hold=False)
        assert (await asking[0]).status_code == 503
        proxy.node.reader.limit_pages(None)
        await eventually(lambda: proxy.node.ready, 10)
        await eventually(lambda: states(proxy, "a") == ["draining", "disabled"], 10)
        assert verify(proxy.node.reader.read()).identical


async def test_the_library_drains_and_pins():
    """The same acts without HTTP: what is under way is answered, and a pin decides."""
    script = scripted("b", "c", a=HELD)
    async with ScriptedProvider(script) as provider, ApiKeyRouter() as router:
        await router.register_provider("openai", OpenAIAdapter(base_url=provider.base_url))
        keys = {"a": await router.register_key(material_of("a"), "openai")}
        asking = asyncio.create_task(router.route(INTENT))
        await provider.until(lambda ledger: ledger.keys["a"].held == 1)
        for name in "bc":
            keys[name] = await router.register_key(material_of(name), "openai")
        assert (await router.drain_key(keys["a"].id)).state is KeyState.Draining
        assert (await router.pin_key(keys["c"].id)).pinned
        assert {(await router.route(INTENT)).key_used for _ in range(10)} == {keys["c"].id}
        assert not (await router.unpin_key(keys["c"].id)).pinned
        assert {(await router.route(INTENT)).key_used for _ in range(30)} == {keys["b"].id, keys["c"].id}
        provider.change_key("a", hold=False)
        assert (await asking).key_used == keys["a"].id
        summary = await router.get_state_summary()
        assert summary["keys"] == {"disabled": 1, "available": 2}


async def test_a_pinned_key_serves_while_it_may_and_the_others_while_it_may_not():
    """A pin sends everything to one key, and steps aside for its rest without a client noticing."""
    limited = KeyScript(faults=(Fault(kind=FaultKind.Status, status=429, retry_after=1, after=10, first=1),))
    async with ScriptedProvider(scripted("b", "c", a=limited)) as provider, running_proxy() as proxy:
        await proxy.provide(provider, "a", "b", "c")
        assert (await command(proxy, "a", "pin"))["pinned"]
        for _ in range(10):
            assert (await proxy.ask()).headers["x-akr-key-id"] == proxy.key_ids["a"]
        answers = [await proxy.ask() for _ in range(5)]
        assert {answer.status_code for answer in answers} == {200}
        assert calls(provider, "a") == 11
        async with asyncio.timeout(10):
            while (await proxy.ask()).headers["x-akr-key-id"] != proxy.key_ids["a"]:
                pass
        assert not (await command(proxy, "a", "unpin"))["pinned"]
        assert {(await proxy.ask()).headers["x-akr-key-id"] for _ in range(30)} > {proxy.key_ids["b"]}


async def test_pinning_twice_and_draining_twice_are_conflicts():
    """The second manager hears that there was nothing to do."""
    async with line_with_calls_under_way(1) as (provider, proxy, asking):
        for act in ("pin", "drain"):
            await command(proxy, "a", act)
            path = f"/api/v1/keys/{proxy.key_ids['a']}/{act}"
            answer = await proxy.client.post(path, headers={"x-api-key": RUN_KEY})
            assert answer.status_code == 409
        provider.change_key("a", hold=False)
        assert (await asking[0]).status_code == 200

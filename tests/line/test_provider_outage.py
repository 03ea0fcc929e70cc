"""A provider that is down: clients do not notice, it is soon left alone, and used when it is back."""

import asyncio
import socket

import pytest
from loopback import MODEL, material_of, running_proxy, scripted

from apikeyrouter.adapters.providers.openai import OpenAIAdapter
from apikeyrouter.application.replay import verify
from apikeyrouter.domain.events import AttemptFailed, ProviderHealthChanged
from apikeyrouter.domain.provider_health import Health
from apikeyrouter.interfaces.scripted_provider import Fault, FaultKind, KeyScript, ScriptedProvider

SICK = {"faults": [{"kind": "status", "status": 500}]}
WELL = {"faults": []}
NAMES = ("a", "b", "c")
OTHERS = ("x", "y")


def calls(provider: ScriptedProvider) -> int:
    return sum(tally.calls for tally in provider.ledger().keys.values())


def failing(status: int) -> KeyScript:
    return KeyScript(faults=(Fault(kind=FaultKind.Status, status=status),))


def failures(proxy) -> list[AttemptFailed]:
    return [r.event for r in proxy.node.reader.read() if isinstance(r.event, AttemptFailed)]


def changes(proxy) -> list[tuple[str, str]]:
    events = [r.event for r in proxy.node.reader.read() if isinstance(r.event, ProviderHealthChanged)]
    return [(event.provider_id, event.to_health) for event in events]


def let_time_pass(proxy, until_us: int) -> None:
    """Set the node's clock forward, and leave it going."""
    clock = proxy.node.clock
    now_us, ahead_us = clock.now_us, max(until_us - clock.now_us(), 0)
    clock.now_us = lambda: now_us() + ahead_us


async def test_a_provider_that_fails_with_all_its_keys_is_left_alone_and_used_again_when_it_is_back():
    """No client sees a failure, five calls are wasted, and after its rest one call tells how it does."""
    sick = scripted(**dict.fromkeys(NAMES, failing(500)))
    async with (
        ScriptedProvider(sick) as down,
        ScriptedProvider(scripted(*OTHERS)) as up,
        running_proxy() as proxy,
    ):
        await proxy.provide(down, *NAMES, provider_id="down")
        await proxy.provide(up, *OTHERS, provider_id="up")
        for _ in range(40):
            assert (await proxy.ask()).status_code == 200
        assert changes(proxy) == [("down", Health.Down)]
        assert calls(down) == 5
        assert max(answer.attempt for answer in failures(proxy)) == 1
        let_time_pass(proxy, proxy.node.state.unwell["down"])
        async with asyncio.timeout(10):
            while calls(down) == 5:
                assert (await proxy.ask()).status_code == 200
        for _ in range(30):
            assert (await proxy.ask()).status_code == 200
        assert calls(down) == 6
        assert changes(proxy)[1:] == [("down", Health.Recovering), ("down", Health.Down)]

        for name in NAMES:
            down.change_key(name, **WELL)
        let_time_pass(proxy, max([proxy.node.state.unwell["down"], *proxy.node.state.resting.values()]))
        async with asyncio.timeout(10):
            while proxy.node.state.unwell:
                assert (await proxy.ask()).status_code == 200
        healed = calls(down)
        for _ in range(40):
            assert (await proxy.ask()).status_code == 200
        assert calls(down) > healed
        assert verify(proxy.node.reader.read()).identical


async def test_a_provider_that_refuses_connections_costs_clients_nothing():
    """The same when nobody listens at all; a provider's failures are not held against the other's keys."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"
        async with ScriptedProvider(scripted(*OTHERS)) as up, running_proxy() as proxy:
            manage = proxy.node.manage
            await manage.register_provider("gone", OpenAIAdapter(base_url=address), actor="test")
            for name in NAMES:
                await manage.register_key(material_of(name), "gone", actor="test")
            await proxy.provide(up, *OTHERS, provider_id="up")
            for number in range(40):
                assert (await proxy.ask(stream=number % 2 == 0)).status_code == 200
            assert changes(proxy) == [("gone", Health.Down)]
            assert [event.failure for event in failures(proxy)] == ["connect_failed"] * 5
            assert {event.provider_id for event in failures(proxy)} == {"gone"}


async def test_a_burst_over_a_sick_provider_is_served_by_the_other():
    """All at once, before anything is known: every client is answered, and the provider rests afterwards."""
    sick = scripted(**dict.fromkeys(NAMES, failing(503)))
    async with (
        ScriptedProvider(sick) as down,
        ScriptedProvider(scripted(*OTHERS)) as up,
        running_proxy() as proxy,
    ):
        await proxy.provide(down, *NAMES, provider_id="down")
        await proxy.provide(up, *OTHERS, provider_id="up")
        answers = await asyncio.gather(*(proxy.ask() for _ in range(40)))
        assert {answer.status_code for answer in answers} == {200}
        before = calls(down)
        assert changes(proxy) == [("down", Health.Down)]
        for _ in range(20):
            assert (await proxy.ask()).status_code == 200
        assert calls(down) == before


async def test_one_bad_key_in_a_burst_does_not_take_its_provider_down():
    """Twenty calls fail together on one key while the other key's calls are still under way."""
    script = scripted(bad=failing(500), slow=KeyScript(hold=True))
    async with ScriptedProvider(script) as provider, running_proxy() as proxy:
        await proxy.provide(provider, "bad", "slow")
        asking = [asyncio.create_task(proxy.ask()) for _ in range(40)]
        async with asyncio.timeout(10):
            while len(failures(proxy)) < 15:
                await asyncio.sleep(0.005)
        provider.change_key("slow", hold=False)
        answers = await asyncio.gather(*asking)
        assert {answer.status_code for answer in answers} == {200}
        assert changes(proxy) == []


@pytest.mark.parametrize("stream", [False, True])
async def test_with_no_other_provider_clients_hear_when_to_come_back(stream):
    """While the only provider rests nothing is called, and the answer says how long."""
    sick = scripted(**dict.fromkeys(NAMES, failing(500)))
    async with ScriptedProvider(sick) as down, running_proxy() as proxy:
        await proxy.provide(down, *NAMES)
        for _ in range(3):
            answer = await proxy.ask(stream=stream)
        assert changes(proxy) == [("openai", Health.Down)]
        before = calls(down)
        answer = await proxy.ask(stream=stream)
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "provider_down"
        assert 1 <= int(answer.headers["retry-after"]) <= 10
        assert MODEL in answer.json()["error"]["message"]
        assert calls(down) == before

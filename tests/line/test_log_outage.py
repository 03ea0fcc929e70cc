"""If the log cannot be written nothing is called, and service comes back by itself."""

import asyncio

import pytest
from loopback import eventually, material_of, running_proxy, scripted

from apikeyrouter.application.replay import verify
from apikeyrouter.domain.events import LogRecovered, RequestCompleted
from apikeyrouter.interfaces.scripted_provider import KeyScript, ScriptedProvider
from apikeyrouter.settings import RouterSettings


@pytest.fixture
def settings(tmp_path):
    return RouterSettings(database_url=str(tmp_path / "log.db"))


def total_calls(provider) -> int:
    return sum(tally.calls for tally in provider.ledger().keys.values())


async def refused_for_lack_of_room(proxy):
    """Ask until the log is full to its last page, and return the refusal."""
    async with asyncio.timeout(20):
        while True:
            answer = await proxy.ask()
            if answer.status_code == 503:
                return answer


async def test_a_full_disk_refuses_requests_without_calling_anybody(settings):
    """503 audit_unavailable, no upstream call, health says so; with room again all goes on by itself."""
    async with ScriptedProvider(scripted("a")) as provider, running_proxy(settings) as proxy:
        await proxy.provide(provider, "a")
        assert (await proxy.ask()).status_code == 200
        proxy.node.reader.limit_pages(0)
        refused = await refused_for_lack_of_room(proxy)
        assert refused.json()["error"]["code"] == "audit_unavailable"
        assert "retry-after" in refused.headers
        calls = total_calls(provider)
        for _ in range(10):
            assert (await proxy.ask()).status_code == 503
        assert total_calls(provider) == calls
        assert (await proxy.client.get("/health/ready")).status_code == 503
        assert (await proxy.client.get("/health/live")).status_code == 200
        proxy.node.reader.limit_pages(None)
        await eventually(lambda: proxy.node.ready, 10)
        assert (await proxy.ask()).status_code == 200
        events = list(proxy.node.reader.read())
        assert any(isinstance(e.event, LogRecovered) for e in events)
        assert not proxy.node.state.open_requests
        assert verify(events).identical
        assert [e.position for e in events] == list(range(1, len(events) + 1))


async def test_an_answer_whose_settlement_cannot_be_written_is_withheld_and_settled_later(settings):
    """The provider has answered, the log is full: the client gets 503, recovery writes the settlement."""
    held = KeyScript(hold=True)
    async with ScriptedProvider(scripted("b", a=held)) as provider, running_proxy(settings) as proxy:
        await proxy.provide(provider, "a")
        asking = asyncio.create_task(proxy.ask())
        await eventually(lambda: provider.ledger().keys["a"].held == 1)
        await proxy.node.manage.disable_key(proxy.key_ids["a"], actor="test")
        await proxy.node.manage.register_key(material_of("b"), "openai", actor="test")
        proxy.node.reader.limit_pages(0)
        await refused_for_lack_of_room(proxy)
        provider.change_key("a", hold=False)
        answer = await asking
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "audit_unavailable"
        proxy.node.reader.limit_pages(None)
        await eventually(lambda: proxy.node.ready, 10)
        assert not proxy.node.state.open_requests
        story = proxy.node.reader.stream(f"request-{answer.headers['x-request-id']}")
        assert isinstance(story[-1].event, RequestCompleted)

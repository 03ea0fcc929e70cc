"""If the log cannot be written nothing is called, and service comes back by itself."""

import asyncio

import pytest
from conftest import eventually, running_proxy, scripted

from apikeyrouter.application.replay import verify
from apikeyrouter.domain.events import LogRecovered, RequestCompleted
from apikeyrouter.interfaces.scripted_provider import KeyScript, ScriptedProvider
from apikeyrouter.settings import RouterSettings


@pytest.fixture
def settings(tmp_path):
    return RouterSettings(database_url=str(tmp_path / "log.db"))


def total_calls(provider) -> int:
    return sum(tally.calls for tally in provider.ledger().keys.values())


async def fill_disk(proxy) -> None:
    """Let the database grow no further."""
    proxy.node.reader.limit_pages(0)


async def test_a_full_disk_refuses_requests_without_calling_anybody(settings):
    """503 audit_unavailable, no upstream call, health says so; with room again all goes on by itself."""
    async with ScriptedProvider(scripted("a")) as provider, running_proxy(settings) as proxy:
        await proxy.provide(provider, "a")
        assert (await proxy.ask()).status_code == 200
        await fill_disk(proxy)
        refused = None
        async with asyncio.timeout(20):
            while refused is None:
                answer = await proxy.ask()
                refused = answer if answer.status_code == 503 else None
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
    slow = KeyScript(hold=True)
    async with ScriptedProvider(scripted(a=slow)) as provider, running_proxy(settings) as proxy:
        await proxy.provide(provider, "a")
        asking = asyncio.create_task(proxy.ask())
        await eventually(lambda: provider.ledger().keys["a"].held == 1)
        await fill_disk(proxy)
        held = [asyncio.create_task(proxy.ask()) for _ in range(3)]
        provider.change_key("a", hold=False)
        answer = await asking
        await asyncio.gather(*held)
        if answer.status_code == 200:
            pytest.skip("the settlement still found room in the last page")
        assert answer.json()["error"]["code"] == "audit_unavailable"
        proxy.node.reader.limit_pages(None)
        await eventually(lambda: proxy.node.ready, 10)
        assert not proxy.node.state.open_requests
        settled = [e for e in proxy.node.reader.read() if isinstance(e.event, RequestCompleted)]
        assert len(settled) == 1

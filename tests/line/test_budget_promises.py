"""What holds however a process is set up or breaks: no money is spent twice, and nobody is told too late."""

import asyncio

import pytest
from loopback import MODEL, QUESTION, eventually, material_of, running_proxy, scripted
from money_givens import BRIEF, PRICES, money, talkative
from quota_givens import held

from apikeyrouter.adapters.providers.openai import OpenAIAdapter
from apikeyrouter.bootstrap import open_node
from apikeyrouter.domain.events import BudgetAlerted, RequestFailed, RequestReleased, RouteDecided
from apikeyrouter.interfaces.scripted_provider import KeyScript, ScriptedProvider
from apikeyrouter.settings import RouterSettings


async def set_up(node, provider, *, hard: bool, alerts=()):
    adapter = OpenAIAdapter(base_url=provider.base_url, models=[{"model": MODEL, **PRICES}])
    await node.manage.register_provider("openai", adapter, actor="test")
    await node.manage.register_key(material_of("a"), "openai", {}, actor="test")

    class Only:
        pass

    only = Only()
    only.node = node
    mode = "hard" if hard else "soft"
    return await money(only).create_budget("global", "0.02", "total", mode, alerts_percent=alerts)


@pytest.mark.parametrize("durability", ["before_response", "async"])
@pytest.mark.parametrize("hard", [True, False])
async def test_a_hold_on_a_hard_budget_is_durable_before_the_call_whatever_else_is_not(durability, hard):
    """A hold that a crash loses would let others spend the same again; soft budgets do not wait for it."""
    settings = RouterSettings(durability=durability)
    async with ScriptedProvider(scripted(**talkative("a"))) as provider, running_proxy(settings) as proxy:
        await set_up(proxy.node, provider, hard=hard)
        waited_before_call = []
        settled = proxy.node.journal.settled

        async def watched(durable):
            waited_before_call.append(not provider.ledger().calls)
            await settled(durable)

        proxy.node.journal.settled = watched
        assert (await proxy.ask(**BRIEF)).status_code == 200
        assert any(waited_before_call) is hard


async def test_a_call_that_a_fault_of_ours_cut_short_counts_at_its_bound():
    """The provider has it and may bill it."""
    async with ScriptedProvider(scripted(**talkative("a"))) as provider, running_proxy() as proxy:
        budget = await set_up(proxy.node, provider, hard=True)
        adapter = proxy.node.providers.adapter("openai")
        execute = adapter.execute

        async def broken(call):
            await execute(call)
            raise RuntimeError("a fault of ours")

        adapter.execute = broken
        assert (await proxy.ask(**BRIEF)).status_code == 500
        recorded = [each.event for each in proxy.node.reader.read()]
        decided = next(event for event in recorded if isinstance(event, RouteDecided))
        failed = next(event for event in recorded if isinstance(event, RequestFailed))
        assert (failed.failure, failed.usage_source) == ("internal_error", "bounded")
        assert failed.cost_nano_usd == decided.chosen.cost_bound_nano_usd > 0
        row = proxy.node.state.budgets.by_id[budget.id].row
        assert proxy.node.state.budgets.settled(row) == failed.cost_nano_usd


async def test_what_a_dead_process_may_have_spent_is_told_at_the_next_start(tmp_path):
    """Its call counts at the bound, which reaches a threshold: the alert follows at once, with evidence."""
    settings = RouterSettings(database_url=str(tmp_path / "a.db"))
    async with ScriptedProvider(scripted(a=KeyScript(hold=True))) as provider:
        async with running_proxy(settings) as proxy:
            budget = await set_up(proxy.node, provider, hard=True, alerts=(1,))
            asked = asyncio.create_task(proxy.client.post("/v1/chat/completions", json={**QUESTION, **BRIEF}))
            await held(provider, "a", 1)
            await proxy.node.journal.log.close()  # as far as the file knows, the process is dead
            asked.cancel()
            await asyncio.wait([asked])
        node = await open_node(settings)
        try:
            await eventually(lambda: len(list(node.reader.read())) == node.state.position)
            events = {each.stream: each.event for each in node.reader.read()}
            released = next(event for event in events.values() if isinstance(event, RequestReleased))
            alert = events[f"budget-{budget.id}"]
            assert isinstance(alert, BudgetAlerted)
            assert alert.settled_nano_usd == released.charged_nano_usd > 0
            assert isinstance(events[alert.evidence[0].stream], RequestReleased)
        finally:
            await node.close()

"""Whatever becomes of a call, budgets are charged once: for what was measured, or what it can have cost."""

import asyncio
from decimal import Decimal

import pytest
from loopback import MODEL, QUESTION, eventually, material_of, running_proxy, scripted
from money_givens import BRIEF, BY_ITS_BYTES, CHEAP, PRICES, TOKENS, bill, in_good_order, money, talkative

from apikeyrouter.adapters.providers.openai import OpenAIAdapter
from apikeyrouter.adapters.providers.transport import Deadlines
from apikeyrouter.domain.events import (
    AttemptFailed,
    RequestCancelled,
    RequestCompleted,
    RequestFailed,
    RouteDecided,
    RouteRefused,
)
from apikeyrouter.domain.pricing import usd
from apikeyrouter.interfaces.scripted_provider import Fault, FaultKind, KeyScript, ScriptedProvider
from apikeyrouter.settings import RouterSettings

IMPATIENT = Deadlines(connect_s=5, first_byte_s=0.1, idle_s=0.1, total_s=20)


def events(proxy, kind) -> list:
    return [each.event for each in proxy.node.reader.read() if isinstance(each.event, kind)]


@pytest.fixture
async def provider():
    async with ScriptedProvider(scripted(**talkative("a", "b"))) as provider:
        yield provider


async def priced(proxy, provider, *names, provider_id="openai", prices=PRICES, deadlines=None):
    adapter = OpenAIAdapter(base_url=provider.base_url, deadlines=deadlines)
    await proxy.node.manage.register_provider(provider_id, adapter, actor="test")
    for name in names:
        key = await proxy.node.manage.register_key(material_of(name), provider_id, {}, actor="test")
        proxy.key_ids[name] = key.key_id
    await money(proxy).prices.set(provider_id, MODEL, prices)


@pytest.fixture
async def proxy(provider):
    async with running_proxy() as proxy:
        await priced(proxy, provider, "a")
        yield proxy


async def books(proxy, budget) -> tuple[Decimal, Decimal]:
    """Return what is spent and what is held."""
    view = await money(proxy).get_budget(budget.id)
    return view.spent, view.reserved


class TestEveryEnding:
    async def test_the_bound_is_held_while_a_call_is_out(self, proxy, provider):
        """And replaced by the cost when it ends; the decision says how much."""
        budget = await money(proxy).create_budget("global", 1, "daily")
        provider.change_key("a", hold=True)
        asking = asyncio.create_task(proxy.ask(**BRIEF))
        await eventually(lambda: provider.ledger(0).keys["a"].held == 1)
        (decided,) = events(proxy, RouteDecided)
        assert await books(proxy, budget) == (0, usd(decided.chosen.cost_bound_nano_usd))
        provider.change_key("a", hold=False)
        answer = await asking
        assert await books(proxy, budget) == (bill(provider), 0)
        assert Decimal(answer.headers["x-akr-cost-usd"]) == bill(provider)

    async def test_a_stream_is_charged_what_it_told(self, proxy, provider):
        """Read to its end."""
        budget = await money(proxy).create_budget("global", 1, "daily")
        await proxy.ask(**BRIEF, stream=True)
        assert await books(proxy, budget) == (bill(provider), 0)
        await in_good_order(proxy.node)

    @pytest.mark.parametrize("kind", [FaultKind.CutMidStream, FaultKind.CutMidEvent, FaultKind.ErrorEvent])
    async def test_a_stream_that_is_cut_is_charged_for_what_was_sent(self, proxy, provider, kind):
        """Bounded, marked so, at least what the provider bills, and no more than was held."""
        provider.put_key("a", KeyScript(key=material_of("a"), output_tokens=9, faults=(Fault(kind=kind),)))
        budget = await money(proxy).create_budget("global", 1, "daily")
        await proxy.ask(**BRIEF, stream=True)
        (failed,), (decided,) = events(proxy, RequestFailed), events(proxy, RouteDecided)
        spent, reserved = await books(proxy, budget)
        assert failed.usage_source == "bounded"
        assert spent == usd(failed.cost_nano_usd)
        assert bill(provider) <= spent <= usd(decided.chosen.cost_bound_nano_usd)
        assert reserved == 0
        await in_good_order(proxy.node)

    async def test_a_client_that_leaves_a_stream(self, proxy, provider):
        """Pays for what was produced by then."""
        provider.change_key("a", token_ms=5, output_tokens=10)
        budget = await money(proxy).create_budget("global", 1, "daily")
        body = {**QUESTION, **BRIEF, "stream": True}
        async with proxy.client.stream("POST", "/v1/chat/completions", json=body) as answer:
            async for _ in answer.aiter_raw():
                break
        await eventually(lambda: not proxy.node.state.open_requests)
        (left,), (decided,) = events(proxy, RequestCancelled), events(proxy, RouteDecided)
        assert (left.phase, left.usage_source) == ("streaming", "bounded")
        assert await books(proxy, budget) == (usd(left.cost_nano_usd), 0)
        assert bill(provider) <= usd(left.cost_nano_usd) <= usd(decided.chosen.cost_bound_nano_usd)

    async def test_a_client_that_leaves_before_the_answer(self, proxy, provider):
        """Pays the bound: the provider goes on with a call for a whole answer."""
        provider.change_key("a", hold=True)
        budget = await money(proxy).create_budget("global", 1, "daily")
        asking = asyncio.create_task(proxy.ask(**BRIEF))
        await eventually(lambda: provider.ledger(0).keys["a"].held == 1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await eventually(lambda: not proxy.node.state.open_requests)
        (left,), (decided,) = events(proxy, RequestCancelled), events(proxy, RouteDecided)
        assert left.phase == "before_first_byte"
        assert await books(proxy, budget) == (usd(decided.chosen.cost_bound_nano_usd), 0)

    async def test_a_timeout_is_charged_at_the_bound(self, provider):
        """The call was sent and may be billed, though nobody knows; the event says how much."""
        hangs = KeyScript(key=material_of("a"), faults=(Fault(kind=FaultKind.HangBeforeHeaders),))
        provider.put_key("a", hangs)
        async with running_proxy(RouterSettings(max_attempts=1)) as proxy:
            await priced(proxy, provider, "a", deadlines=IMPATIENT)
            budget = await money(proxy).create_budget("global", 1, "daily")
            assert (await proxy.ask(**BRIEF)).status_code == 504
            (failed,), (decided,) = events(proxy, AttemptFailed), events(proxy, RouteDecided)
            assert failed.charged_nano_usd == decided.chosen.cost_bound_nano_usd > 0
            assert await books(proxy, budget) == (usd(failed.charged_nano_usd), 0)
            await in_good_order(proxy.node)

    @pytest.mark.parametrize("status", [400, 401, 429, 500])
    async def test_what_a_provider_refuses_costs_nothing(self, proxy, provider, status):
        """All that was held comes back."""
        refuses = (Fault(kind=FaultKind.Status, status=status),)
        provider.put_key("a", KeyScript(key=material_of("a"), faults=refuses))
        budget = await money(proxy).create_budget("global", 1, "daily")
        assert (await proxy.ask(**BRIEF)).status_code >= 400
        assert await books(proxy, budget) == (0, 0)
        assert {failed.charged_nano_usd for failed in events(proxy, AttemptFailed)} == {0}

    async def test_an_answer_without_counts_is_charged_at_a_bound(self, proxy, provider):
        """Never at zero, and never above what was held."""
        silent = KeyScript(
            key=material_of("a"), output_tokens=TOKENS, faults=(Fault(kind=FaultKind.UsageMissing),)
        )
        provider.put_key("a", silent)
        budget = await money(proxy).create_budget("global", 1, "daily")
        await proxy.ask(**BRIEF)
        (completed,), (decided,) = events(proxy, RequestCompleted), events(proxy, RouteDecided)
        spent, _ = await books(proxy, budget)
        assert completed.usage_source == "bounded"
        assert bill(provider) <= spent <= usd(decided.chosen.cost_bound_nano_usd)


class TestFailover:
    async def test_each_attempt_pays_from_its_own_budgets(self, provider):
        """The failed one at its bound, the next by its cost; the budget of all pays both."""
        hangs = {"first": KeyScript(faults=(Fault(kind=FaultKind.HangBeforeHeaders),))}
        async with (
            ScriptedProvider(scripted(**hangs)) as other,
            running_proxy() as proxy,
        ):
            await priced(proxy, other, "first", provider_id="slow", prices=CHEAP, deadlines=IMPATIENT)
            create = money(proxy).create_budget
            slow = await create("provider", 1, "daily", scope_id="slow")
            await priced(proxy, provider, "a")
            fast = await create("provider", 1, "daily", scope_id="openai")
            whole = await create("global", 1, "daily")
            answer = await proxy.client.post(
                "/v1/chat/completions", json={**QUESTION, **BRIEF}, headers={"x-akr-objective": "cost"}
            )
            assert (answer.status_code, answer.headers["x-akr-attempts"]) == (200, "2")
            (failed,) = events(proxy, AttemptFailed)
            charged = usd(failed.charged_nano_usd)
            assert await books(proxy, slow) == (charged, 0)
            assert await books(proxy, fast) == (bill(provider), 0)
            assert await books(proxy, whole) == (charged + bill(provider), 0)
            await in_good_order(proxy.node)

    async def test_a_key_without_money_is_passed_over(self, provider):
        """Another key's budget has room, and its key serves."""
        async with running_proxy() as proxy:
            await priced(proxy, provider, "a", "b")
            await money(proxy).create_budget("key", 0, "daily", scope_id=proxy.key_ids["a"])
            answers = [await proxy.ask(**BRIEF) for _ in range(4)]
            assert {answer.headers["x-akr-key-id"] for answer in answers} == {proxy.key_ids["b"]}

    async def test_the_last_failure_is_told_where_the_next_attempt_does_not_fit(self, provider):
        """The attempt that timed out used up what there was; nothing more is sent."""
        hangs = (Fault(kind=FaultKind.HangBeforeHeaders),)
        for name in "ab":
            provider.put_key(name, KeyScript(key=material_of(name), faults=hangs))
        async with running_proxy() as proxy:
            await priced(proxy, provider, "a", "b", deadlines=IMPATIENT)
            budget = await money(proxy).create_budget("global", "0.007", "daily")
            assert (await proxy.ask(**BRIEF)).status_code == 504
            assert len(provider.ledger(9).calls) == 1
            spent, reserved = await books(proxy, budget)
            assert Decimal("0.0035") < spent <= Decimal("0.007")
            assert reserved == 0


class TestAtOnce:
    @pytest.mark.parametrize("fitting", [0, 1, 17, 63, 64])
    async def test_what_fits_is_served_and_nothing_else(self, proxy, provider, fitting):
        """64 requests at once on a nearly empty budget: those that fit together are let in, to the last."""
        provider.change_key("a", hold=True)
        probe = await money(proxy).create_budget("global", 1, "daily")
        first = asyncio.create_task(proxy.ask(**BY_ITS_BYTES))
        await eventually(lambda: provider.ledger(0).keys["a"].held == 1)
        (decided,) = events(proxy, RouteDecided)
        bound = usd(decided.chosen.cost_bound_nano_usd)
        await money(proxy).close_budget(probe.id)
        one_short = Decimal("0.000000001")
        budget = await money(proxy).create_budget("global", bound * (fitting + 1) - one_short, "daily")
        asking = [asyncio.create_task(proxy.ask(**BY_ITS_BYTES)) for _ in range(64)]
        await eventually(lambda: len(events(proxy, RouteRefused)) == 64 - fitting, seconds=20)
        await eventually(lambda: provider.ledger(0).keys["a"].held == fitting + 1, seconds=20)
        assert await books(proxy, budget) == (0, bound * fitting)
        provider.change_key("a", hold=False)
        statuses = [answer.status_code for answer in await asyncio.gather(*asking)]
        assert (statuses.count(200), statuses.count(429)) == (fitting, 64 - fitting)
        assert (await first).status_code == 200
        own = bill(provider) * fitting / (fitting + 1)
        assert await books(proxy, budget) == (own, 0)
        await in_good_order(proxy.node)

    async def test_what_comes_back_is_spent_by_the_next(self, proxy, provider):
        """Request after request, as long as the bound of one fits, and the bill stays within the limit."""
        limit = Decimal("0.03")
        budget = await money(proxy).create_budget("global", limit, "daily")
        served = 0
        while (answer := await proxy.ask(**BRIEF)).status_code == 200:
            served += 1
            assert served < 200
        spent, _ = await books(proxy, budget)
        assert spent == bill(provider) <= limit
        assert Decimal(answer.headers["x-akr-budget-remaining-usd"]) == limit - spent
        assert served > 10

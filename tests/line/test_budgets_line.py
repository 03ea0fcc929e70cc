"""Budgets on the whole line: the library and the proxy over a scripted provider that keeps its own bill."""

from decimal import Decimal

import openai
import pytest
from loopback import MODEL, QUESTION, material_of, running_proxy, scripted
from money_givens import BRIEF, CHEAP, PRICES, bill, in_good_order, money, spent, talkative

from apikeyrouter import ApiKeyRouter
from apikeyrouter.domain.components.cost_controller import BudgetExceededError
from apikeyrouter.domain.models.budget import BudgetScope, EnforcementMode, TimeWindow
from apikeyrouter.domain.models.system_error import (
    ErrorCategory,
    InvalidRequestError,
    NotFoundError,
    PriceUnknownError,
)
from apikeyrouter.domain.offers import parse_offers
from apikeyrouter.infrastructure.adapters.openai_adapter import OpenAIAdapter
from apikeyrouter.interfaces.scripted_provider import KeyScript, ScriptedProvider


async def until_refused(router) -> None:
    for _ in range(20):
        await router.route({**QUESTION, **BRIEF})


@pytest.fixture
async def provider():
    async with ScriptedProvider(scripted(**talkative("a", "b"))) as provider:
        yield provider


@pytest.fixture
async def router(provider):
    """A router in this process, of which the model has a price."""
    async with ApiKeyRouter() as router:
        await router.register_provider("openai", OpenAIAdapter(base_url=provider.base_url))
        await router.register_key(material_of("a"), "openai")
        await router.cost_controller.prices.set("openai", MODEL, PRICES)
        yield router


@pytest.fixture
async def proxy(provider):
    async with running_proxy() as proxy:
        await proxy.provide(provider, "a")
        await money(proxy).prices.set("openai", MODEL, PRICES)
        yield proxy


class TestTheLibrary:
    async def test_what_is_spent_is_the_provider_s_bill(self, router, provider):
        """To the nano-dollar, in every budget that pays, and the answer says the same."""
        create = router.cost_controller.create_budget
        budgets = [
            await create("global", 1, "daily"),
            await create(BudgetScope.PerClient, 1, TimeWindow.Weekly, EnforcementMode.Soft, "me"),
            await create("tag", 1, "total", scope_id="t"),
            await create("route", 1, "monthly", scope_id="chat"),
            await create("provider", 1, "hourly", scope_id="openai", rolling=True),
            await create("model", 1, "custom", scope_id=MODEL, seconds=90_000),
            await create("team", 1, "daily", scope_id="somebody else"),
        ]
        answers = [
            await router.route({**QUESTION, **BRIEF, "client_id": "me", "tags": ["t"]}) for _ in range(3)
        ]
        owed = bill(provider)
        assert owed == sum(answer.cost.amount for answer in answers) > 0
        seen = [await spent(router.cost_controller, budget.id) for budget in budgets]
        assert seen == [owed] * 6 + [0]

    async def test_the_error_says_what_is_left_and_when_it_fits(self, router, provider):
        """With exact amounts, and nothing is sent."""
        create = router.cost_controller.create_budget
        budget = await create("global", "0.0001", "daily")
        with pytest.raises(BudgetExceededError) as refused:
            await router.route({**QUESTION, **BRIEF})
        error = refused.value
        assert (error.budget_id, error.limit, error.remaining) == (
            budget.id,
            Decimal("0.0001"),
            Decimal("0.0001"),
        )
        assert error.needed > error.limit
        assert (error.resets_at, error.retry_after) == (None, None)
        assert (error.category, error.code, error.retryable) == (
            ErrorCategory.BudgetExceeded,
            "insufficient_quota",
            False,
        )
        assert error.request_id
        assert not provider.ledger(9).calls

    async def test_it_says_when_the_window_begins_anew(self, router):
        """Where the request would fit into a fresh one."""
        create = router.cost_controller.create_budget
        budget = await create("global", "0.008", "daily")
        with pytest.raises(BudgetExceededError) as refused:
            await until_refused(router)
        assert refused.value.resets_at == budget.resets_at
        assert 0 < refused.value.retry_after <= 86_400
        assert refused.value.remaining < refused.value.needed <= refused.value.limit

    async def test_a_total_that_is_used_up_is_told_like_any_other(self, router):
        """It never begins anew, and says so instead of breaking."""
        await router.cost_controller.create_budget("global", "0.008", "total")
        with pytest.raises(BudgetExceededError, match="Time alone gives nothing back") as refused:
            await until_refused(router)
        assert refused.value.resets_at is None

    async def test_an_unknown_price_under_a_hard_budget(self, router, provider):
        """Is its own error, names the model, and sends nothing; without hard budgets it is served."""
        asked = {**QUESTION, "model": "nobody-knows"}
        await router.cost_controller.create_budget("global", 1, "daily", "soft")
        assert (await router.route(asked)).content
        budget = await router.cost_controller.create_budget("global", 1, "daily")
        with pytest.raises(PriceUnknownError, match="nobody-knows") as refused:
            await router.route(asked)
        assert (refused.value.code, refused.value.param) == ("price_unknown", "model")
        assert len(provider.ledger(9).calls) == 1
        await router.cost_controller.close_budget(budget.id)
        assert (await router.route(asked)).content

    async def test_a_hard_budget_bounds_the_answer_of_a_call(self, router, provider):
        """The call itself says so where the caller did not."""
        provider.put_key("a", KeyScript(key=material_of("a"), output_tokens=100_000))
        await router.cost_controller.create_budget("global", 1, "daily")
        answer = await router.route(QUESTION)
        assert answer.metadata.tokens_used.output_tokens == 4096
        assert "may have 4,096 tokens at most" in answer.metadata.routing_explanation

    async def test_a_top_up_lets_the_next_one_in(self, router):
        """And closing lets in everything."""
        budget = await router.cost_controller.create_budget("global", 0, "daily")
        with pytest.raises(BudgetExceededError):
            await router.route({**QUESTION, **BRIEF})
        topped = await router.cost_controller.top_up(budget.id, "0.01", reason="a gift")
        assert (topped.limit, topped.topped_up, topped.remaining) == (0, Decimal("0.01"), Decimal("0.01"))
        await router.route({**QUESTION, **BRIEF})
        await router.cost_controller.close_budget(budget.id)
        await router.route(QUESTION)

    @pytest.mark.parametrize(
        ("equivalents", "cheaper"),
        [("small", ()), ((), "abc"), ([MODEL], ()), (["x"], ["x"]), ([["x"]], ()), ([""], ()), ([5], ())],
    )
    async def test_equivalents_are_names_of_other_models(self, router, equivalents, cheaper):
        """A text is no list, and no model stands in for itself or twice."""
        with pytest.raises(InvalidRequestError):
            await router.cost_controller.equate_models(MODEL, equivalents, cheaper)

    async def test_an_unknown_budget(self, router):
        """Is not found, whatever is asked of it."""
        controller = router.cost_controller
        for act in (controller.get_budget, controller.close_budget, lambda name: controller.top_up(name, 1)):
            with pytest.raises(NotFoundError, match="nobody's"):
                await act("nobody's")

    async def test_budgets_survive_a_restart_to_the_nano_dollar(self, provider, tmp_path):
        """On a file: spent, held by nobody, closed and open, with their terms."""
        path = str(tmp_path / "log.db")
        async with ApiKeyRouter(path) as router:
            await router.register_provider("openai", OpenAIAdapter(base_url=provider.base_url))
            await router.register_key(material_of("a"), "openai")
            await router.cost_controller.prices.set("openai", MODEL, PRICES)
            create = router.cost_controller.create_budget
            first = await create("global", "0.009", "monthly", timezone="Europe/Berlin", name="all of it")
            await create("tag", "1.000000001", "total", "soft", "t", alerts_percent=[1], downgrade=True)
            await router.cost_controller.close_budget((await create("team", 1, "daily", scope_id="x")).id)
            await router.cost_controller.top_up(first.id, "0.000000001")
            await router.route({**QUESTION, **BRIEF, "tags": ["t"]})
            before = await router.cost_controller.list_budgets(closed=True)
        async with ApiKeyRouter(path) as router:
            assert await router.cost_controller.list_budgets(closed=True) == before
            assert len(before) == 3
            assert before[0].spent == before[1].spent == bill(provider) > 0


class TestTheProxy:
    async def test_the_refusal_in_openai_s_dialect(self, proxy):
        """429 with the code that clients know as final, and what is left in headers."""
        budget = await money(proxy).create_budget("global", "0.008", "daily")
        answers = [await proxy.ask(**BRIEF) for _ in range(20)]
        refused = answers[-1]
        assert refused.status_code == 429
        error = refused.json()["error"]
        assert (error["type"], error["code"]) == ("insufficient_quota", "insufficient_quota")
        assert budget.id in error["message"]
        left = (await money(proxy).get_budget(budget.id)).remaining
        assert refused.headers["x-should-retry"] == "false"
        assert refused.headers["x-akr-budget"] == budget.id
        assert refused.headers["x-akr-budget-limit-usd"] == "0.008"
        assert Decimal(refused.headers["x-akr-budget-remaining-usd"]) == left
        assert refused.headers["x-akr-budget-resets-at"] == budget.resets_at.isoformat()
        assert int(refused.headers["retry-after"]) > 0
        assert refused.headers["x-request-id"]
        await in_good_order(proxy.node)

    async def test_the_sdk_does_not_retry_it(self, proxy):
        """One refusal is recorded, however often the client would try."""
        await money(proxy).create_budget("global", 0, "daily")
        async with openai.AsyncOpenAI(
            base_url=f"{proxy.base_url}/v1", api_key="unused", max_retries=5
        ) as client:
            with pytest.raises(openai.RateLimitError) as refused:
                await client.chat.completions.create(**QUESTION)
        assert refused.value.code == "insufficient_quota"
        assert proxy.node.state.position == len(list(proxy.node.reader.read()))
        refusals = [each for each in proxy.node.reader.read() if each.stream.startswith("request-")]
        assert len(refusals) == 1

    async def test_an_unknown_price(self, proxy):
        """400 with its own code, and no retry."""
        await money(proxy).create_budget("global", 1, "daily")
        refused = await proxy.ask(model="nobody-knows")
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "price_unknown")
        assert refused.headers["x-should-retry"] == "false"

    @pytest.mark.parametrize("stream", [False, True])
    async def test_a_soft_budget_serves_and_says_so(self, proxy, stream):
        """With the ids of those that this may run over."""
        budget = await money(proxy).create_budget("global", "0.000000001", "daily", "soft")
        served = await proxy.ask(**BRIEF, stream=stream)
        assert served.status_code == 200
        assert served.headers["x-akr-over-budget"] == budget.id
        assert (await money(proxy).get_budget(budget.id)).remaining == 0

    async def test_a_cap_is_told(self, proxy):
        """Where a hard budget bounds what the caller has left open."""
        await money(proxy).create_budget("global", 1, "daily")
        assert (await proxy.ask()).headers["x-akr-output-tokens-capped"] == "4096"
        assert "x-akr-output-tokens-capped" not in (await proxy.ask(**BRIEF)).headers

    @pytest.mark.parametrize("by_terms", [False, True])
    async def test_a_downgrade_where_it_is_asked_for(self, provider, by_terms):
        """By the caller's header or by the budget's terms, to a model that was declared cheaper."""
        offers = parse_offers([{"model": MODEL, **PRICES}, {"model": "small", **CHEAP}])
        async with running_proxy() as proxy:
            adapter = OpenAIAdapter(base_url=provider.base_url, models=offers)
            await proxy.node.manage.register_provider("openai", adapter, actor="test")
            await proxy.node.manage.register_key(material_of("a"), "openai", {}, actor="test")
            await money(proxy).equate_models(MODEL, cheaper=["small"])
            await money(proxy).create_budget("global", "0.001", "daily", downgrade=by_terms)
            headers = {} if by_terms else {"x-akr-downgrade": "true"}
            body = {**QUESTION, **BRIEF}
            served = await proxy.client.post("/v1/chat/completions", json=body, headers=headers)
            assert (served.status_code, served.headers["x-akr-model"]) == (200, "small")
            assert provider.ledger(1).calls[-1].model == "small"
            if not by_terms:
                assert (await proxy.ask(**BRIEF)).status_code == 429
            await in_good_order(proxy.node)

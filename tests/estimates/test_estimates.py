"""Estimates in the library: what a request would cost if it came now, and who would serve it."""

from decimal import Decimal

import pytest
from estimate_shop import CHEAP, DEAR, INTENT, MODEL, adapter

from apikeyrouter import ApiKeyRouter
from apikeyrouter.application.replay import verify
from apikeyrouter.domain.models.cost_estimate import CostEstimate
from apikeyrouter.domain.models.system_error import BudgetExceededError, InvalidRequestError
from apikeyrouter.interfaces.scripted_provider import Script, ScriptedProvider

BOUND_BYTES = len('{"max_tokens":400,"model":"gpt-4o","messages":[{"role":"user","content":"Hello!"}]}')


@pytest.fixture
async def router(monkeypatch):
    monkeypatch.setattr("apikeyrouter.interfaces.estimate_views.count_tokens", lambda _model, _texts: None)
    async with ScriptedProvider(Script(accept_any_key=True)) as provider, ApiKeyRouter() as router:
        await router.register_provider("dear", adapter(provider.base_url, DEAR))
        await router.register_provider("cheap", adapter(provider.base_url, CHEAP))
        for provider_id in ("dear", "cheap", "cheap"):
            number = len(await router.key_manager.list_keys())
            await router.register_key(f"sk-test-{number}", provider_id)
        yield router


async def estimated(router, objective="cost", **changes):
    return await router.cost_controller.estimate({**INTENT, **changes}, objective)


def by_provider(estimate):
    return {candidate.provider_id: candidate for candidate in estimate.candidates}


class TestWhatIsTold:
    async def test_every_provider_and_who_would_serve(self, router):
        """One candidate a provider and model, its keys counted; the cheapest is chosen for the cost."""
        told = await estimated(router)
        assert isinstance(told, CostEstimate)
        found = by_provider(told)
        assert {name: (one.keys, one.chosen) for name, one in found.items()} == {
            "dear": (1, False),
            "cheap": (2, True),
        }
        assert (told.chosen_provider_id, told.chosen_model, told.refused) == ("cheap", MODEL, None)
        assert (told.amount, told.bound) == (found["cheap"].expected.amount, found["cheap"].bound.amount)
        assert found["dear"].bound.amount == 4 * found["cheap"].bound.amount
        assert told.explanation.startswith("Chose key")

    async def test_bounds_and_whose_word_they_are(self, router):
        """The bytes and the template bound the input, the request the output."""
        one = by_provider(await estimated(router))["cheap"]
        assert one.input_tokens == one.input_tokens_bound == BOUND_BYTES + 128
        assert (one.input_from, one.output_tokens_bound, one.output_bound_from) == ("bound", 400, "request")
        assert one.bound.amount == Decimal(one.input_tokens_bound * 25 + 400 * 100) / 10_000_000
        assert (one.price.input_usd_per_mtok, one.price.source) == (Decimal("2.5"), "offer")
        open_ended = by_provider(await estimated(router, parameters={"n": 2}))["cheap"]
        assert (open_ended.output_tokens_bound, open_ended.output_bound_from) == (2_048, "usual")

    async def test_the_decision_that_follows_is_the_one_foretold(self, router):
        """The same bound, expectation and provider; the answer costs no more than the bound."""
        told = await estimated(router)
        answer = await router.route(INTENT, "cost")
        chosen = answer.decision["chosen"]
        assert chosen["provider_id"] == told.chosen_provider_id
        assert Decimal(chosen["cost_bound_nano_usd"]) / 10**9 == told.bound
        assert Decimal(chosen["expected_cost_nano_usd"]) / 10**9 == told.amount
        assert answer.cost.amount <= told.bound

    async def test_counted_input(self, router, monkeypatch):
        """With the extra the expected cost is by the count, and the bound stays what is reserved."""
        guessed = await estimated(router)
        monkeypatch.setattr("apikeyrouter.interfaces.estimate_views.count_tokens", lambda _model, texts: 2)
        counted = await estimated(router)
        one = by_provider(counted)["cheap"]
        assert (one.input_tokens, one.input_from) == (2 + 3 + 3, "counted")
        assert counted.bound == guessed.bound
        assert one.expected.amount == Decimal(8 * 25 + one.expected_output_tokens * 100) / 10_000_000

    async def test_a_model_that_nobody_offers(self, router):
        """There is nothing to estimate, and it says why."""
        told = await router.cost_controller.estimate({**INTENT, "model": "nobody-has-it"})
        assert (told.amount, told.bound, told.candidates) == (None, None, ())
        assert told.refused == "model_not_offered"

    async def test_nonsense_is_refused(self, router):
        """As it is when it is routed."""
        with pytest.raises(InvalidRequestError):
            await router.cost_controller.estimate({"model": MODEL})


class TestBudgets:
    async def test_one_that_it_does_not_fit(self, router):
        """Which one, how much is left of it, when it fits, and that routing would be refused just so."""
        budget = await router.cost_controller.create_budget("global", "0.0001", "daily")
        told = await estimated(router)
        assert (told.refused, told.amount, told.retry_at) == ("budget_exceeded", None, None)
        for one in told.candidates:
            [fit] = one.budgets
            assert not one.fits_budgets
            assert (fit.budget_id, fit.hard, fit.fits, fit.fits_at) == (budget.id, True, False, None)
            assert fit.remaining == Decimal("0.0001")
        with pytest.raises(BudgetExceededError):
            await router.route(INTENT, "cost")

    async def test_one_that_it_will_fit(self, router):
        """Of a used up budget it tells when the next period begins."""
        one = by_provider(await estimated(router))["cheap"]
        limit = str(one.bound.amount)
        await router.cost_controller.create_budget("provider", limit, "daily", scope_id="cheap")
        assert by_provider(await estimated(router))["cheap"].fits_budgets
        await router.route(INTENT, "cost")
        told = await estimated(router)
        fit = by_provider(told)["cheap"].budgets[0]
        assert (fit.fits, fit.fits_at > told.at, fit.scope_id) == (False, True, "cheap")
        assert told.chosen_provider_id == "dear"

    async def test_a_budget_of_one_key_leaves_the_other(self, router):
        """A provider fits if one of its keys does."""
        for key in await router.key_manager.list_keys():
            if key.provider_id == "cheap":
                await router.cost_controller.create_budget("key", "0.0001", "daily", scope_id=key.id)
                break
        one = by_provider(await estimated(router))["cheap"]
        assert one.fits_budgets
        assert one.chosen

    async def test_a_soft_one_lets_it_pass(self, router):
        """It is named, and does not refuse."""
        await router.cost_controller.create_budget("global", "0.0001", "daily", "soft")
        told = await estimated(router)
        assert told.chosen_provider_id == "cheap"
        assert [(fit.hard, fit.fits) for fit in told.candidates[0].budgets] == [(False, False)]
        assert told.candidates[0].fits_budgets

    async def test_open_output_under_a_hard_budget(self, router):
        """The cap that the call would be given is the bound."""
        await router.cost_controller.create_budget("global", "5", "daily")
        one = by_provider(await estimated(router, parameters={}))["cheap"]
        assert (one.output_tokens_bound, one.output_bound_from) == (4_096, "cap")


class TestNothingIsLeftBehind:
    async def test_no_event_and_no_reservation(self, router):
        """The log does not grow, budgets hold nothing, and the next decision can be made again."""
        budget = await router.cost_controller.create_budget("global", "5", "daily")
        await router.route(INTENT)
        node = await router._open()
        position, before = node.state.position, await router.cost_controller.get_budget(budget.id)
        for _ in range(5):
            await estimated(router)
        assert node.state.position == position
        assert await router.cost_controller.get_budget(budget.id) == before
        assert not node.state.open_requests
        await router.route(INTENT)
        verified = verify(node.reader.read())
        assert (verified.decisions, verified.different) == (2, 0)

    async def test_it_learns_from_answers_and_not_from_questions(self, router):
        """Five answers of 32 tokens draw the expectation down; five estimates do nothing."""
        first = await estimated(router)
        for _ in range(5):
            assert (await estimated(router)).amount == first.amount
        for _ in range(5):
            await router.route(INTENT, "cost")
        later = by_provider(await estimated(router))["cheap"]
        assert later.expected_output_tokens < by_provider(first)["cheap"].expected_output_tokens
        assert 4.9 < later.learned_from_model <= 5.0


async def test_how_good_they_were(router):
    """Settlements by provider and model, against what was reserved and expected; none above its bound."""
    assert await router.cost_controller.reconciliation() == []
    costs = [(await router.route(INTENT, "cost")).cost.amount for _ in range(3)]
    [told] = await router.cost_controller.reconciliation()
    assert (told.provider_id, told.model, told.source) == ("cheap", MODEL, "measured")
    assert (told.settlements, told.foreseen, told.unpriced) == (3, 3, 0)
    assert told.actual == sum(costs)
    assert told.actual <= told.expected <= told.bound
    assert told.mean_signed_error < 0
    assert (told.above_bound, told.share_above_bound) == (0, 0)

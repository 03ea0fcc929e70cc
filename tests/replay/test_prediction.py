"""What a what-if says is what comes when it is really done: the same traffic on the scripted provider."""

import msgspec
from histories import CHEAP, DEAR
from loopback import scripted
from quota_givens import ask, asking, provide, running_node

from apikeyrouter.adapters.providers.openai import OpenAIAdapter
from apikeyrouter.application.what_if import Change, Stretch, what_if
from apikeyrouter.application.what_if.tally import Tally
from apikeyrouter.domain.budget_terms import parse_terms
from apikeyrouter.domain.events import Policy, Recorded
from apikeyrouter.domain.models.budget import BudgetScope
from apikeyrouter.domain.objectives import policy_of
from apikeyrouter.domain.offers import parse_offers
from apikeyrouter.interfaces.scripted_provider import ScriptedProvider

REQUESTS = 120
ONLY_DEAR = msgspec.structs.replace(policy_of("fairness"), providers=("dear",))


async def really(
    policy: Policy, limits: dict | None = None, *, budget_usd: str | None = None
) -> list[Recorded]:
    """Send the same requests to a dear and a cheap provider, of two keys each, and return the log."""
    async with (
        ScriptedProvider(scripted("d1", "d2")) as dear,
        ScriptedProvider(scripted("c1", "c2")) as cheap,
        running_node() as node,
    ):
        for provider, provider_id, offer in ((dear, "dear", DEAR), (cheap, "cheap", CHEAP)):
            adapter = OpenAIAdapter(base_url=provider.base_url, models=parse_offers([offer]))
            await node.manage.register_provider(provider_id, adapter, actor="test")
        await provide(node, dear, provider_id="dear", d1={}, d2={})
        await provide(node, cheap, provider_id="cheap", c1=limits or {}, c2=limits or {})
        if budget_usd is not None:
            terms = parse_terms(budget_usd, "monthly", "hard")
            await node.budgets.open(terms, actor="test", scope=BudgetScope.Global)
        for number in range(REQUESTS):
            await ask(node, msgspec.structs.replace(asking(pad=number % 7, tokens=8), policy=policy))
        return list(node.reader.read())


def counted(events: list[Recorded]) -> Tally:
    tally = Tally()
    for recorded in events:
        tally.count(recorded.event)
    return tally


def totals(tally: Tally) -> tuple[int, ...]:
    return tally.completed, tally.cost_nano_usd, tally.input_tokens, tally.output_tokens, tally.attempts


def served_by(tally: Tally) -> dict[str, int]:
    return {name: served.completed for name, served in tally.providers.items() if served.completed}


def near(one: int, other: int, share: float = 0.06) -> bool:
    return abs(one - other) <= share * max(one, other)


async def test_another_objective_costs_what_was_foretold():
    """Fair history, asked what the cheapest would have cost; then the cheapest is really chosen."""
    fair = await really(policy_of("fairness"))
    foretold = what_if(fair, Change(policy=policy_of("cost")), Stretch(draws=5))
    came = counted(await really(policy_of("cost")))
    assert foretold.before.cost_nano_usd > 4 * came.cost_nano_usd
    assert totals(foretold.favourable.tally) == totals(came)
    assert served_by(foretold.favourable.tally) == served_by(came) == {"cheap": REQUESTS}
    for run in foretold.runs:
        assert near(run.tally.cost_nano_usd, came.cost_nano_usd, 0.5)
        assert near(run.tally.providers["cheap"].completed, came.providers["cheap"].completed)
        assert run.tally.completed + run.tally.failed == came.completed == REQUESTS


async def test_a_budget_that_was_too_small_would_have_been_enough():
    """What the dear provider could not serve for want of money, the cheap one does, foretold and really."""
    dear = await really(ONLY_DEAR, budget_usd="0.02")
    foretold = what_if(dear, Change(policy=policy_of("cost")), Stretch(draws=5))
    came = counted(await really(policy_of("cost"), budget_usd="0.02"))
    assert foretold.before.refused > REQUESTS / 10
    assert foretold.favourable.tally.refused == came.refused == 0
    assert served_by(foretold.favourable.tally) == served_by(came) == {"cheap": REQUESTS}
    assert foretold.favourable.bases["unknown"] >= foretold.before.refused
    assert near(foretold.favourable.tally.cost_nano_usd, came.cost_nano_usd, 0.9)


async def test_unchanged_it_is_what_was():
    """Every choice and every total of a run that was really made."""
    cost = await really(policy_of("cost"), {"rpd": 20})
    foretold = what_if(cost, Change(), Stretch())
    assert foretold.identical
    assert foretold.favourable.tally == counted(cost)


async def test_quotas_run_out_as_they_would_have():
    """Room for a few requests a day at the cheap keys: what they serve, and the rest, foretold and real."""
    fair = await really(policy_of("fairness"))
    limits = {key: {"rpd": 20} for key in _cheap_keys(fair)}
    change = Change(policy=policy_of("cost"), metadata=limits)
    foretold = what_if(fair, change, Stretch(draws=5))
    came = counted(await really(policy_of("cost"), {"rpd": 20}))
    for run in foretold.runs:
        assert run.tally.providers["cheap"].chosen <= 40
        assert near(run.tally.cost_nano_usd, came.cost_nano_usd, 0.2)


async def test_without_its_keys_a_provider_serves_nothing():
    """What remains serves everything, at the cost that it really has."""
    fair = await really(policy_of("fairness"))
    foretold = what_if(fair, Change(removed=tuple(_cheap_keys(fair))), Stretch(draws=5))
    came = counted(await really(ONLY_DEAR))
    assert foretold.favourable.tally.cost_nano_usd == came.cost_nano_usd
    for run in foretold.runs:
        assert "cheap" not in run.tally.providers
        assert near(run.tally.cost_nano_usd, came.cost_nano_usd)


def _cheap_keys(events: list[Recorded]) -> list[str]:
    return [
        recorded.stream.removeprefix("key-")
        for recorded in events
        if getattr(recorded.event, "provider_id", None) == "cheap" and recorded.stream.startswith("key-")
    ]

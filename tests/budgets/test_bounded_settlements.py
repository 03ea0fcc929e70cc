"""What nobody measured is settled at a bound, and never above what was held for it."""

import pytest
from loopback import running_proxy, scripted

from apikeyrouter.adapters.providers.openai import OpenAIAdapter
from apikeyrouter.domain.events import BudgetTerms, ModelOffer, RequestCompleted, RouteDecided
from apikeyrouter.domain.models.budget import BudgetScope
from apikeyrouter.interfaces.scripted_provider import Fault, FaultKind, KeyScript, ScriptedProvider

PRICES = {"input_nano_usd_per_mtok": 150_000_000, "output_nano_usd_per_mtok": 600_000_000}


@pytest.mark.parametrize(("most_output", "choices"), [(None, 1), (40, 1), (40, 2)])
async def test_an_answer_without_usage_costs_no_more_than_was_held(most_output, choices):
    """Where neither caller nor provider tells how long it is, it settles at the cap or the model's limit."""
    silent = KeyScript(faults=(Fault(kind=FaultKind.UsageMissing),), output_tokens=most_output or 5_000)
    async with ScriptedProvider(scripted(a=silent)) as provider, running_proxy() as proxy:
        offer = ModelOffer(model="gpt-4", max_output_tokens=most_output, **PRICES)
        adapter = OpenAIAdapter(base_url=provider.base_url, models=(offer,))
        await proxy.node.manage.register_provider("openai", adapter, actor="test")
        await proxy.node.manage.register_key("sk-test-a", "openai", actor="test")
        terms = BudgetTerms(limit_nano_usd=10**9, unit="total", enforcement="hard")
        await proxy.node.budgets.open(terms, actor="test", scope=BudgetScope.Global)
        assert (await proxy.ask(n=choices)).status_code == 200
        (decided,) = [e.event for e in proxy.node.reader.read() if isinstance(e.event, RouteDecided)]
        (ended,) = [e.event for e in proxy.node.reader.read() if isinstance(e.event, RequestCompleted)]
    assert ended.usage_source == "bounded"
    assert 0 < ended.cost_nano_usd <= decided.chosen.cost_bound_nano_usd

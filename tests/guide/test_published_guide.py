"""The published migration guide's snippets run as they stand, but for keys' worth and the address."""

import ast
import inspect

import pytest

from apikeyrouter.domain.components.cost_controller import BudgetExceededError
from apikeyrouter.domain.models.system_error import PriceUnknownError
from apikeyrouter.interfaces.scripted_provider import KeyScript, Script, ScriptedProvider

PATTERN_1 = """
from apikeyrouter import ApiKeyRouter
from apikeyrouter.domain.models.request_intent import RequestIntent, Message

router = ApiKeyRouter()
await router.register_provider("openai", OpenAIAdapter())
await router.register_key("sk-key-1", "openai")
await router.register_key("sk-key-2", "openai")
await router.register_key("sk-key-3", "openai")

# Automatic routing, retry, and error handling
intent = RequestIntent(
    model="gpt-4",
    messages=[Message(role="user", content="Hello!")],
    provider_id="openai"
)
response = await router.route(intent)
"""

STEP_2 = """
from apikeyrouter import ApiKeyRouter
from apikeyrouter.infrastructure.adapters.openai_adapter import OpenAIAdapter

router = ApiKeyRouter()
await router.register_provider("openai", OpenAIAdapter())

# Register your existing keys
await router.register_key("sk-your-key-1", "openai")
await router.register_key("sk-your-key-2", "openai")
"""

STEP_3 = """
# New way
response = await router.route(intent)
"""

STEP_4 = """
# Cost optimization
response = await router.route(intent, objective="cost")

# Reliability optimization
response = await router.route(intent, objective="reliability")

# Fairness (default)
response = await router.route(intent, objective="fairness")
"""

PATTERN_3 = """
from apikeyrouter.domain.models.budget import BudgetScope, EnforcementMode, TimeWindow
from decimal import Decimal

# Set budget (automatic enforcement)
budget = await router.cost_controller.create_budget(
    scope=BudgetScope.Global,
    limit=Decimal("100.00"),
    period=TimeWindow.Daily,
    enforcement_mode=EnforcementMode.Hard
)

# Automatic cost estimation and budget checking
response = await router.route(intent, objective="cost")
# Budget automatically enforced before execution
"""

STEP_5 = """
from apikeyrouter.domain.models.budget import BudgetScope, EnforcementMode, TimeWindow
from decimal import Decimal

budget = await router.cost_controller.create_budget(
    scope=BudgetScope.Global,
    limit=Decimal("100.00"),
    period=TimeWindow.Daily,
    enforcement_mode=EnforcementMode.Hard
)
"""

QUOTAS = """
from apikeyrouter.domain.models.quota_state import CapacityState

state = await router.quota_awareness_engine.get_quota_state(key_id)
left = state.remaining_capacity.value
gone = state.capacity_state == CapacityState.Exhausted
foreseen = await router.quota_awareness_engine.predict_exhaustion(key_id)
"""


async def run(snippet: str, names: dict) -> dict:
    """Run a snippet with top-level awaits, as a notebook would."""
    code = compile(snippet, "guide", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, names)  # noqa: S307 - the snippet is a constant of this file
    if inspect.isawaitable(result):
        await result
    return names


@pytest.fixture
async def provider(monkeypatch):
    material = ("sk-key-1", "sk-key-2", "sk-key-3", "sk-your-key-1", "sk-your-key-2")
    keys = {f"k{number}": KeyScript(key=text) for number, text in enumerate(material)}
    async with ScriptedProvider(Script(keys=keys)) as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.base_url)
        yield provider


async def test_pattern_1_library_integration(provider):
    """Three keys, one intent, one answer with everything that speaks for it."""
    from apikeyrouter.infrastructure.adapters.openai_adapter import OpenAIAdapter

    names = await run(PATTERN_1, {"OpenAIAdapter": OpenAIAdapter})
    response = names["response"]
    assert response.content
    assert response.key_used in {key.id for key in await names["router"].key_manager.list_keys()}
    assert response.metadata.model_used
    assert response.metadata.tokens_used.total_tokens > 0
    assert response.metadata.routing_explanation.startswith("Chose key")
    await names["router"].close()


async def test_steps_2_to_4(provider):
    """Register, route, and choose an objective."""
    names = await run(STEP_2, {})
    names["intent"] = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hello!"}]}
    for step in (STEP_3, STEP_4):
        names = await run(step, names)
        assert names["response"].content
    await names["router"].close()


async def test_pattern_3_cost_optimization(provider):
    """A hard budget pays for the answer, and refuses what does not fit into it."""
    names = await run(STEP_2, {})
    router = names["router"]
    # The scripted provider is at another address than OpenAI, for which the book of prices has none.
    await router.cost_controller.prices.set(
        "openai", "gpt-4", {"input_usd_per_mtok": 30, "output_usd_per_mtok": 60}
    )
    names["intent"] = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hello!"}]}
    names = await run(PATTERN_3, names)
    budget = await router.cost_controller.get_budget(names["budget"].id)
    assert budget.spent == names["response"].cost.amount > 0
    assert budget.remaining == 100 - budget.spent
    dear = {**names["intent"], "parameters": {"max_tokens": 2_000_000}}
    with pytest.raises(BudgetExceededError) as refused:
        await router.route(dear, objective="cost")
    assert refused.value.remaining == budget.remaining
    await router.close()


async def test_pattern_3_at_openai_s_own_address(monkeypatch):
    """There the book of prices knows the model, so the snippet needs nothing else."""
    monkeypatch.setenv("OPENAI_BASE_URL", "https://api.openai.com/v1")
    names = await run(STEP_2, {})
    names = await run(STEP_5, names)
    price, *_ = await names["router"].cost_controller.prices.of("gpt-4")
    assert (price["provider"], price["registered"], price["source"]) == ("openai", True, "book")
    assert price["prices"]["input"] > 0
    await names["router"].close()


async def test_step_5_set_up_budgets(provider):
    """What was asked for is there, and enforced."""
    names = await run(STEP_2, {})
    names = await run(STEP_5, names)
    budget = names["budget"]
    assert (budget.scope, budget.limit, budget.period) == ("global", 100, "daily")
    assert await names["router"].cost_controller.list_budgets() == [budget]
    with pytest.raises(PriceUnknownError):
        await names["router"].route({"model": "gpt-4", "messages": [{"role": "user", "content": "Hello!"}]})
    await names["router"].close()


async def test_quota_awareness(provider):
    """The names under which users ask what is left and when it runs out."""
    names = await run(STEP_2, {})
    key = await names["router"].register_key("sk-key-1", "openai", {"rpm": 3})
    told = await run(QUOTAS, {"router": names["router"], "key_id": key.id})
    assert (told["left"], told["gone"]) == (3, False)
    assert told["foreseen"].probability == 0.0
    await names["router"].close()

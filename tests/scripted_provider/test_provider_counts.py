"""The scripted provider bills within the bounds that are held for its calls."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopback import MODEL, running_proxy, scripted

from apikeyrouter.adapters.providers.openai import OpenAIAdapter
from apikeyrouter.application.input_allowances import allowance_for
from apikeyrouter.domain.budget_terms import parse_terms
from apikeyrouter.domain.events import ModelOffer, RequestCompleted, RouteDecided, RouteRefused
from apikeyrouter.domain.models.budget import BudgetScope
from apikeyrouter.interfaces.scripted_provider import ScriptedProvider
from apikeyrouter.interfaces.scripted_provider.answers import says
from apikeyrouter.interfaces.scripted_provider.asks import read_ask

texts = st.one_of(
    st.text(max_size=40), st.sampled_from(("", "x" * 400, "hello " * 90, "\x00" * 30, "é😀" * 20))
)
parts = st.one_of(
    st.fixed_dictionaries({"type": st.sampled_from(("text", "input_text")), "text": texts}),
    st.fixed_dictionaries({"type": st.sampled_from(("image_url", "input_image"))}),
)
contents = st.one_of(st.none(), texts, st.lists(parts, max_size=6))
named = {"name": texts, "tool_call_id": texts}
tools = st.lists(
    st.fixed_dictionaries({"type": st.just("function"), "function": st.fixed_dictionaries({"name": texts})}),
    max_size=3,
)
messages = st.fixed_dictionaries({"role": texts, "content": contents}, optional=named)
items = st.fixed_dictionaries(
    {"type": st.just("function_call_output")},
    optional={"role": texts, "content": contents, "output": contents},
)
ids = st.integers(0, 200_000)
inputs = st.one_of(texts, st.lists(texts | ids | st.lists(ids, max_size=9), min_size=1, max_size=9))
prompts = st.one_of(texts, st.lists(texts, min_size=1, max_size=3))
calls = st.one_of(
    st.tuples(
        st.just("chat"),
        st.fixed_dictionaries({"messages": st.lists(messages | items, min_size=1, max_size=30)}),
    ),
    st.tuples(st.just("embeddings"), st.fixed_dictionaries({"input": inputs})),
    st.tuples(st.just("completion"), st.fixed_dictionaries({"prompt": inputs | prompts})),
    st.tuples(
        st.just("responses"),
        st.fixed_dictionaries(
            {"input": texts | st.lists(items, max_size=30)}, optional={"instructions": texts}
        ),
    ),
)


@given(call=calls, offered=st.none() | tools)
def test_it_never_counts_more_input_than_is_bounded(call, offered):
    """Many messages, empty and long ones, pictures wherever they are, and token ids."""
    operation, fields = call
    body = msgspec.json.encode({"model": "m", **fields, **({"tools": offered} if offered else {})})
    assert read_ask(operation, body).input_tokens <= allowance_for(operation, body).bound(len(body))


@given(
    bounds=st.dictionaries(
        st.sampled_from(("max_tokens", "max_completion_tokens")), st.integers(1, 50), min_size=1
    ),
    choices=st.integers(1, 16),
    usual=st.integers(1, 80),
    schema=st.sampled_from((None, {"type": "json_object"})),
    echo=st.sampled_from(("", "sk-test-echo")),
)
def test_it_never_makes_more_than_it_may(bounds, choices, usual, schema, echo):
    """Of words, of what a schema asks for, and of what it repeats."""
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "n": choices, **bounds}
    ask = read_ask("chat", msgspec.json.encode(body | ({"response_format": schema} if schema else {})))
    assert says(ask, usual, echo).tokens * ask.choices <= max(bounds.values()) * choices


@pytest.mark.parametrize("text", ["x", "hello ", "Hello world "])
async def test_a_hard_budget_is_not_overrun_by_what_it_counts(text):
    """It counts four bytes as a token where a model of the same name would count fewer; that is held, too."""
    async with ScriptedProvider(scripted("a")) as provider, running_proxy() as proxy:
        offer = ModelOffer(model=MODEL, input_nano_usd_per_mtok=10**12, output_nano_usd_per_mtok=10**12)
        adapter = OpenAIAdapter(base_url=provider.base_url, models=(offer,))
        await proxy.node.manage.register_provider("openai", adapter, actor="test")
        await proxy.node.manage.register_key("sk-test-a", "openai", actor="test")
        terms = parse_terms(1, "total", "hard")
        await proxy.node.budgets.open(terms, actor="test", scope=BudgetScope.Global)
        for length in (300, 200, 150, 100, 70, 40, 20, 10, 5, 2, 1) * 3:
            question = [{"role": "user", "content": text * length}]
            await proxy.ask(messages=question, max_tokens=2)
            budgets = proxy.node.state.budgets
            assert budgets.remaining(budgets.by_row[0].row) >= 0
        events = [recorded.event for recorded in proxy.node.reader.read()]
    bounds = [one.facts.input_tokens_bound for one in events if isinstance(one, RouteDecided)]
    counts = [one.input_tokens for one in events if isinstance(one, RequestCompleted)]
    assert all(count <= bound for count, bound in zip(counts, bounds, strict=True))
    assert any(isinstance(one, RouteRefused) for one in events)

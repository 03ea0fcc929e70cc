"""Before a hard budget refuses a request by its bytes, its tokens are counted where that can be done."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopback import MODEL, running_proxy, scripted
from money_givens import in_good_order, money, talkative

from apikeyrouter.adapters.providers.openai import OpenAIAdapter
from apikeyrouter.application import second_look
from apikeyrouter.application.second_look import FRAMING_TOKENS, counted_bound
from apikeyrouter.domain.events import RouteDecided, RouteRefused
from apikeyrouter.interfaces.scripted_provider import ScriptedProvider

WORDY = [{"role": "user", "content": "Tell me of the sea. " * 200}]
PRICES = {"input_usd_per_mtok": 1000, "output_usd_per_mtok": 1}


@pytest.fixture
def _is_openai(monkeypatch):
    """Let the provider on this machine stand for OpenAI's own."""
    monkeypatch.setattr(second_look, "COUNTED_AT", "127.0.0.1")


@pytest.fixture
async def proxy():
    async with ScriptedProvider(scripted(**talkative("a"))) as provider, running_proxy() as proxy:
        adapter = OpenAIAdapter(base_url=provider.base_url, models=[{"model": MODEL, **PRICES}])
        await proxy.node.manage.register_provider("openai", adapter, actor="test")
        await proxy.node.manage.register_key("sk-test-a", "openai", {}, actor="test")
        yield proxy


def decisions(proxy) -> list:
    events = (recorded.event for recorded in proxy.node.reader.read())
    return [event for event in events if isinstance(event, RouteDecided | RouteRefused)]


@pytest.mark.usefixtures("_is_openai")
async def test_what_fits_by_its_tokens_is_served(proxy):
    """Four thousand bytes are a thousand tokens: the budget has room for two thousand."""
    await money(proxy).create_budget("global", 2, "total")
    assert (await proxy.ask(messages=WORDY, max_tokens=10)).status_code == 200
    (decided,) = decisions(proxy)
    assert 1000 < decided.facts.input_tokens_bound < 1300 < decided.facts.body_bytes
    await in_good_order(proxy.node)


@pytest.mark.usefixtures("_is_openai")
async def test_what_fits_by_its_bytes_is_not_counted(proxy):
    """Counting has its price, so it waits until somebody would be refused."""
    await money(proxy).create_budget("global", 100, "total")
    assert (await proxy.ask(messages=WORDY, max_tokens=10)).status_code == 200
    (decided,) = decisions(proxy)
    assert decided.facts.input_tokens_bound > decided.facts.body_bytes


async def test_who_may_count_otherwise_is_bounded_by_the_bytes(proxy):
    """The name of a model says how OpenAI reads it, and of nobody else."""
    await money(proxy).create_budget("global", 2, "total")
    assert (await proxy.ask(messages=WORDY, max_tokens=10)).status_code == 429
    (refused,) = decisions(proxy)
    assert refused.facts.input_tokens_bound > refused.facts.body_bytes


@pytest.mark.usefixtures("_is_openai")
async def test_what_fits_neither_way_is_refused_by_what_it_needs(proxy):
    """The refusal tells the tighter of the two bounds."""
    await money(proxy).create_budget("global", "0.5", "total")
    assert (await proxy.ask(messages=WORDY, max_tokens=10)).status_code == 429
    (refused,) = decisions(proxy)
    assert 1_000_000_000 < refused.shortfall.needed_nano_usd < 1_300_000_000
    await in_good_order(proxy.node)


@pytest.mark.usefixtures("_is_openai")
@pytest.mark.parametrize(
    "more",
    [
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
        {"conversation": "conv_1"},
        {"previous_response_id": "resp_1"},
        {"prompt": {"id": "pmpt_1"}},
    ],
)
async def test_what_cannot_be_counted_keeps_its_bound(proxy, more):
    """How tools are shown to a model is not published, and what is only named is not here."""
    await money(proxy).create_budget("global", 2, "total")
    assert (await proxy.ask(messages=WORDY, max_tokens=10, **more)).status_code == 429
    (refused,) = decisions(proxy)
    assert refused.facts.input_tokens_bound > refused.facts.body_bytes


BODY = b'{"model":"a","messages":[{"role":"user","content":"hello"}]}'


@given(st.dictionaries(st.sampled_from("abc"), st.one_of(st.none(), st.integers(0, 200))))
def test_the_bound_holds_for_every_model_that_may_be_asked(told):
    """It is that of the model which reads the most tokens; one that is not known leaves the bytes."""
    bound = counted_bound("chat", BODY, set(told), lambda model, _texts: told[model])
    if None in told.values() or not told:
        assert bound is None
    else:
        assert bound == max(told.values()) + 6 + FRAMING_TOKENS

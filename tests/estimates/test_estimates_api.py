"""Estimates over the management API."""

import pytest
from estimate_shop import BODY, CHEAP, MODEL, adapter
from loopback import RUN_KEY, running_proxy

from apikeyrouter.interfaces.scripted_provider import Script, ScriptedProvider

KEY = {"x-api-key": RUN_KEY}


@pytest.fixture
async def proxy():
    async with ScriptedProvider(Script(accept_any_key=True)) as provider, running_proxy() as proxy:
        cheap = adapter(provider.base_url, CHEAP)
        await proxy.node.manage.register_provider("cheap", cheap, actor="test")
        await proxy.node.manage.register_key("sk-test-a", "cheap", {}, actor="test")
        yield proxy


async def ask(proxy, body=BODY, *, status=200, headers=KEY, **params):
    answer = await proxy.client.post("/api/v1/estimates", json=body, headers=headers, params=params)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_the_body_of_a_chat_completion(proxy):
    """What a client would send tells what it would cost; nothing is sent on."""
    told = await ask(proxy)
    assert (told["currency"], told["chosen_provider_id"], told["refused"]) == ("USD", "cheap", None)
    [one] = told["candidates"]
    assert one["bound"]["amount"] == told["bound"]
    assert float(told["amount"]) < float(told["bound"])
    assert one["price"]["source"] == "offer"
    assert not proxy.node.state.open_requests


async def test_the_headers_count(proxy):
    """The same as with the request itself: a budget of the team holds, the objective decides."""
    opened = {"scope": "team", "scope_id": "red", "limit": "0.0001", "period": "total"}
    await proxy.client.post("/api/v1/budgets", json=opened, headers=KEY)
    assert (await ask(proxy))["refused"] is None
    refused = await ask(proxy, headers={**KEY, "x-akr-team": "red"})
    assert refused["refused"] == "budget_exceeded"
    assert refused["candidates"][0]["budgets"][0]["scope"] == "team"
    assert (await ask(proxy, headers={**KEY, "x-akr-objective": "nonsense"}, status=400))["error"]


async def test_a_given_length(proxy):
    """Where the messages do not hold the input, its length may be said."""
    [one] = (await ask(proxy, input_tokens=1_000_000))["candidates"]
    assert (one["input_tokens"], one["input_from"]) == (1_000_000, "given")
    assert one["bound"]["amount"] == "2.504"
    await ask(proxy, input_tokens=-1, status=400)


@pytest.mark.parametrize("body", [{}, {"model": MODEL}, {"model": MODEL, "messages": []}, [], "text"])
async def test_what_is_no_request(proxy, body):
    """It is refused as it would be if it was to be served."""
    assert "error" in await ask(proxy, body, status=400)


async def test_strangers_learn_nothing(proxy):
    """It takes a management key."""
    await ask(proxy, headers={}, status=401)
    assert (await proxy.client.get("/api/v1/estimates/accuracy")).status_code == 401


async def test_accuracy(proxy):
    """After requests were served, estimates and actual costs stand side by side."""
    for _ in range(2):
        answer = await proxy.client.post("/v1/chat/completions", json=BODY)
        assert answer.status_code == 200
    [told] = (await proxy.client.get("/api/v1/estimates/accuracy", headers=KEY)).json()
    assert (told["provider_id"], told["model"], told["settlements"]) == ("cheap", MODEL, 2)
    assert float(told["actual"]) == pytest.approx(2 * float(answer.headers["x-akr-cost-usd"]))
    assert told["above_bound"] == 0

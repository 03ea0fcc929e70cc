"""Prices over the management API."""

import pytest
from loopback import RUN_KEY, running_proxy, scripted

from apikeyrouter.interfaces.scripted_provider import ScriptedProvider

KEY = {"x-api-key": RUN_KEY}
PRICE = {"input_usd_per_mtok": "0.15", "output_usd_per_mtok": 0.6, "cached_input_usd_per_mtok": 0.075}


@pytest.fixture
async def proxy():
    async with ScriptedProvider(scripted("a")) as provider, running_proxy() as proxy:
        await proxy.provide(provider, "a")
        yield proxy


async def test_the_packaged_book_is_in_force(proxy):
    """A fresh log names its book, and what a model costs there; a provider elsewhere has no price of it."""
    told = (await proxy.client.get("/api/v1/prices", params={"model": "gpt-4o"}, headers=KEY)).json()
    assert told["book"]["source"] == "genai-prices"
    by_provider = {(row["provider"], row["registered"]): row["prices"] for row in told["model_prices"]}
    assert by_provider["openai", True] is None
    assert by_provider["openai", False]["input"] > 0
    assert (await proxy.client.get("/api/v1/prices/diff", headers=KEY)).json()["same"]


async def test_a_price_that_is_set_is_charged(proxy):
    """The header of the next answer, and its settlement, tell the cost by it."""
    assert "x-akr-cost-usd" not in (await proxy.ask()).headers
    body = {"provider_id": "openai", "model": "gpt-4", "prices": PRICE}
    told = (await proxy.client.post("/api/v1/prices", json=body, headers=KEY)).json()
    assert told["model_prices"][0]["prices"] == {
        "input": 150_000_000,
        "output": 600_000_000,
        "cached_input": 75_000_000,
    }
    answer = await proxy.ask()
    assert float(answer.headers["x-akr-cost-usd"]) > 0


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/prices/adopt", {}, 409),
        ("POST", "/prices/adopt", {"sha256": "0"}, 409),
        ("POST", "/prices/adopt", {"hash": "0"}, 400),
        ("POST", "/prices", {"provider_id": "nobody", "model": "m", "prices": PRICE}, 404),
        ("POST", "/prices", {"provider_id": "openai", "model": "m", "prices": {"input": 1}}, 400),
        ("POST", "/prices", {"provider_id": "openai", "model": "m", "prices": None}, 404),
    ],
)
async def test_what_is_refused(proxy, method, path, body, status):
    """Conflicts, unknown names and half prices, in the shape of every other error."""
    answer = await proxy.client.request(method, f"/api/v1{path}", json=body, headers=KEY)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/prices"), ("GET", "/prices/diff"), ("POST", "/prices"), ("POST", "/prices/adopt")],
)
async def test_strangers_are_kept_out(proxy, method, path):
    """Without a management key nothing is told and nothing is changed."""
    assert (await proxy.client.request(method, f"/api/v1{path}", json={})).status_code == 401

"""Quotas, forecasts, states of keys and health of providers over the management API."""

import asyncio

import httpx
import pytest
from loopback import RUN_KEY, eventually, material_of, running_proxy, scripted
from prometheus_client.parser import text_string_to_metric_families

from apikeyrouter.interfaces.scripted_provider import Fault, FaultKind, KeyScript, ScriptedProvider
from apikeyrouter.settings import RouterSettings

BROKEN = KeyScript(faults=(Fault(kind=FaultKind.Status, status=500),))


class Api:
    """The management API of a running proxy."""

    def __init__(self, proxy) -> None:
        self.proxy = proxy

    async def __call__(self, method: str, path: str, status: int = 200, **options):
        answer = await self.proxy.client.request(
            method, f"/api/v1{path}", headers={"x-api-key": RUN_KEY}, **options
        )
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest.fixture
async def provider():
    async with ScriptedProvider(scripted("a", "b", "c", broken1=BROKEN, broken2=BROKEN)) as provider:
        yield provider


@pytest.fixture
async def proxy():
    async with running_proxy() as proxy:
        proxy.api = Api(proxy)
        yield proxy


class TestQuotas:
    async def test_a_key_and_its_accounts(self, proxy, provider):
        """The state of the key repeats its tightest account; the list has every account."""
        await proxy.provide(provider, "a", rpm=5, tpm=100_000)
        key = await proxy.node.manage.register_key(material_of("b"), "openai", actor="test")
        await asyncio.gather(*(proxy.ask() for _ in range(4)))
        state = await proxy.api("GET", f"/quotas/{proxy.key_ids['a']}")
        listed = await proxy.api("GET", "/quotas")
        assert [one["account_id"] for one in listed] == [one["account_id"] for one in state["accounts"]]
        requests = next(one for one in listed if one["dimension"] == "requests")
        assert requests["settled"] + requests["reserved"] + requests["remaining"] == requests["limit"] == 5
        assert requests["source"] == "declared"
        unknown = await proxy.api("GET", f"/quotas/{key.key_id}")
        assert unknown["capacity_state"] == "unknown"
        assert unknown["remaining_capacity"]["value"] is None

    async def test_forecasts(self, proxy, provider):
        """Every account is foreseen, with the method, how sure it is, and on how much it stands."""
        await proxy.provide(provider, "a", rpm=3)
        for _ in range(3):
            await proxy.ask()
        [account] = await proxy.api("GET", "/forecasts")
        assert (account["probability"], account["capacity_state"]) == (1.0, "exhausted")
        assert account["method"]
        foreseen = await proxy.api("GET", f"/forecasts/{proxy.key_ids['a']}")
        assert foreseen["accounts"][0]["account_id"] == account["account_id"]
        assert foreseen["probability"] == 1.0

    async def test_pages(self, proxy, provider):
        """Long lists come in pages that cover every account once."""
        await proxy.provide(provider, "a", "b", "c", rpm=5, tpm=1000)
        pages = [await proxy.api("GET", f"/quotas?after={after}&limit=4") for after in (0, 4)]
        assert [len(page) for page in pages] == [4, 2]
        assert len({one["account_id"] for page in pages for one in page}) == 6
        await proxy.api("GET", "/quotas?limit=0", 400)

    @pytest.mark.parametrize("path", ["/quotas/nobody", "/forecasts/nobody"])
    async def test_an_unknown_key(self, proxy, path):
        """404 in OpenAI's shape."""
        error = (await proxy.api("GET", path, 404))["error"]
        assert (error["code"], error["param"]) == ("not_found", "key_id")

    @pytest.mark.parametrize("path", ["/quotas", "/forecasts", "/quotas/x", "/forecasts/x", "/providers"])
    async def test_strangers_learn_nothing(self, proxy, path):
        """What keys may still do is for those who manage."""
        assert (await proxy.client.get(f"/api/v1{path}")).status_code == 401


class TestKeys:
    async def test_pin_and_unpin(self, proxy, provider):
        """A pinned key is preferred; a second time is a conflict."""
        await proxy.provide(provider, "a", "b")
        path = f"/keys/{proxy.key_ids['b']}"
        assert (await proxy.api("POST", f"{path}/pin"))["pinned"] is True
        assert (await proxy.api("POST", f"{path}/pin", 409))["error"]["code"] == "conflict"
        answers = [await proxy.ask() for _ in range(4)]
        assert {answer.headers["x-akr-key-id"] for answer in answers} == {proxy.key_ids["b"]}
        assert (await proxy.api("POST", f"{path}/unpin"))["pinned"] is False

    async def test_drain(self, proxy, provider):
        """An idle key is disabled at once; a second time is a conflict."""
        await proxy.provide(provider, "a")
        path = f"/keys/{proxy.key_ids['a']}/drain"
        assert (await proxy.api("POST", path))["state"] == "disabled"
        await proxy.api("POST", path, 409)

    async def test_patch(self, proxy, provider):
        """Named entries change, null removes one, others stay; the limit holds from then on."""
        await proxy.provide(provider, "a", rpm=1, tier="gold", tpm=9)
        path = f"/keys/{proxy.key_ids['a']}"
        changed = await proxy.api("PATCH", path, json={"metadata": {"rpm": 50, "tpm": None}})
        assert changed["metadata"] == {"rpm": 50, "tier": "gold"}
        assert {(await proxy.ask()).status_code for _ in range(3)} == {200}

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({}, "metadata"),
            ({"metadata": {}}, "metadata"),
            ({"metadata": {"rpm": 0}}, "metadata.rpm"),
            ({"metadata": {"limits": 4}}, "metadata.limits"),
            ({"metadata": {"rpm": 5}, "key_material": "sk-x"}, "key_material"),
        ],
    )
    async def test_an_unusable_patch(self, proxy, provider, body, param):
        """400 that names the entry, and the state stays where it was."""
        await proxy.provide(provider, "a", rpm=1)
        position = proxy.node.state.position
        error = (await proxy.api("PATCH", f"/keys/{proxy.key_ids['a']}", 400, json=body))["error"]
        assert error["param"] == param
        assert proxy.node.state.position == position

    @pytest.mark.parametrize("act", ["drain", "pin", "unpin"])
    async def test_an_unknown_key(self, proxy, act):
        """404 in OpenAI's shape."""
        assert (await proxy.api("POST", f"/keys/nobody/{act}", 404))["error"]["code"] == "not_found"


class TestRefusals:
    async def test_used_up_limits_are_429_with_their_return(self, proxy, provider):
        """Who comes when the quota is used up is told when to come again."""
        await proxy.provide(provider, "a", rpm=1)
        await proxy.ask()
        refused = await proxy.ask()
        assert refused.status_code == 429
        assert 0 < int(refused.headers["retry-after"]) <= 60
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"

    async def test_full_keys_are_429_without_a_guess(self, proxy, provider):
        """When a call under way ends is not known, so no time is named."""
        provider.change_key("a", hold=True)
        await proxy.provide(provider, "a", max_concurrency=1)
        under_way = asyncio.create_task(proxy.ask())
        await eventually(lambda: proxy.node.state.open_requests)
        refused = await proxy.ask()
        provider.change_key("a", hold=False)
        assert (refused.status_code, refused.headers.get("retry-after")) == (429, None)
        assert (await under_way).status_code == 200

    async def test_a_provider_that_is_down_is_503_with_its_return(self, proxy, provider):
        """Nobody asked for too much: the provider is at fault, and a time is told to come again."""
        await proxy.provide(provider, "broken1", "broken2")
        await eventually_down(proxy)
        refused = await proxy.ask()
        assert refused.status_code == 503, refused.text
        assert refused.json()["error"]["code"] == "provider_down"
        assert int(refused.headers["retry-after"]) >= 1
        [shown] = await proxy.api("GET", "/providers")
        assert shown["health"] == "down"
        assert shown["health_until"].endswith("Z")
        assert shown["failures_since_success"] >= 5

    async def test_no_hope_is_503_without_a_time(self, proxy, provider):
        """A key that was switched off does not come back by itself."""
        await proxy.provide(provider, "a")
        await proxy.api("POST", f"/keys/{proxy.key_ids['a']}/disable")
        refused = await proxy.ask()
        assert (refused.status_code, refused.headers.get("retry-after")) == (503, None)
        assert refused.json()["error"]["code"] == "no_eligible_keys"


async def eventually_down(proxy) -> None:
    """Ask until the provider is down."""
    async with asyncio.timeout(10):
        while "openai" not in proxy.node.state.unwell:
            await proxy.ask()


class TestMetrics:
    async def test_quotas_and_health_have_series(self, proxy, provider):
        """What is left and allowed by key, dimension and window, and a 1 for the health a provider is in."""
        await proxy.provide(provider, "a", rpm=5)
        await proxy.ask()
        shown = await scraped(proxy)
        labels = {
            "account": f"key-{proxy.key_ids['a']}",
            "dimension": "requests",
            "window": "minute",
            "models": "",
        }
        assert shown["apikeyrouter_quota_limit", frozenset(labels.items())] == 5
        assert shown["apikeyrouter_quota_remaining", frozenset(labels.items())] == 4
        healths = {
            dict(key[1])["health"]: value
            for key, value in shown.items()
            if key[0] == "apikeyrouter_provider_health"
        }
        assert healths == {"healthy": 1, "down": 0, "recovering": 0}

    async def test_accounts_beyond_the_bound_are_only_counted(self, proxy, provider, monkeypatch):
        """However many keys there are, the number of series stays."""
        monkeypatch.setattr("apikeyrouter.adapters.telemetry.standing.MOST_METRIC_ACCOUNTS", 2)
        await proxy.provide(provider, "a", "b", "c", rpm=5)
        shown = await scraped(proxy)
        assert sum(name == "apikeyrouter_quota_limit" for name, _ in shown) == 2
        assert shown["apikeyrouter_quota_accounts", frozenset()] == 3

    async def test_no_material(self, proxy, provider):
        """Ids of keys stand in the labels, material nowhere."""
        await proxy.provide(provider, "a", rpm=5)
        assert material_of("a") not in (await proxy.client.get("/metrics")).text

    async def test_waiting_is_observed(self, provider):
        """Who waits now, and how long those waited who got a key."""
        async with running_proxy(RouterSettings(queue_timeout_s=10)) as proxy:
            provider.change_key("a", hold=True)
            await proxy.provide(provider, "a", max_concurrency=1)
            asked = [asyncio.create_task(proxy.ask()) for _ in range(3)]
            metrics = proxy.node.metrics
            await eventually(lambda: len(metrics.waiting_since_us) == 2)
            assert (await scraped(proxy))["apikeyrouter_waiting_requests", frozenset()] == 2
            provider.change_key("a", hold=False)
            assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}
            assert sum(metrics.waits_us["served"].counts) == 2
            assert not metrics.waiting_since_us


async def scraped(proxy) -> dict[tuple[str, frozenset], float]:
    text = (await proxy.client.get("/metrics")).text
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


async def test_everything_is_documented(proxy):
    """OpenAPI names every route with its answer's shape."""
    document = (await proxy.client.get("/openapi.json")).json()
    for method, path in (
        ("get", "/quotas"),
        ("get", "/quotas/{key_id}"),
        ("get", "/forecasts"),
        ("get", "/forecasts/{key_id}"),
        ("patch", "/keys/{key_id}"),
        ("post", "/keys/{key_id}/drain"),
        ("post", "/keys/{key_id}/pin"),
        ("post", "/keys/{key_id}/unpin"),
    ):
        described = document["paths"][f"/api/v1{path}"][method]
        assert described["description"]
        assert described["responses"]["200"]["content"]["application/json"]["schema"]
    assert {"QuotaState", "ExhaustionPrediction"} <= document["components"]["schemas"].keys()


async def test_the_trail_shows_waits_and_reservations(provider):
    """A deferred request's events hold the wait and what the decision reserved."""
    async with running_proxy(RouterSettings(queue_timeout_s=10)) as proxy:
        await proxy.provide(provider, "a", max_concurrency=1, rpm=50)
        answers: list[httpx.Response] = await asyncio.gather(*(proxy.ask() for _ in range(4)))
        api = Api(proxy)
        trails = [await api("GET", f"/requests/{answer.headers['x-request-id']}") for answer in answers]
        names = [[event["name"] for event in trail["events"]] for trail in trails]
        assert ["request.deferred.v2", "request.decided.v3", "request.completed.v2"] in names
        for answer, told in zip(answers, names, strict=True):
            assert ("x-akr-queued-ms" in answer.headers) == ("request.deferred.v2" in told)
            assert float(answer.headers["x-akr-overhead-ms"]) >= 0
        for trail in trails:
            decided = next(event for event in trail["events"] if event["name"] == "request.decided.v3")
            account = f"key-{proxy.key_ids['a']}/requests/minute"
            assert decided["data"]["reserved"] == [[account, 1]]
            assert trail["missing_evidence"] == []

"""Budgets over the management API."""

import pytest
from loopback import RUN_KEY, running_proxy, scripted

from apikeyrouter.adapters.providers.openai import OpenAIAdapter
from apikeyrouter.domain.offers import parse_offers
from apikeyrouter.interfaces.scripted_provider import ScriptedProvider

KEY = {"x-api-key": RUN_KEY}
MONTHLY = {"scope": "team", "scope_id": "research", "limit": "250.00", "period": "monthly"}
NOBODY = "0" * 32


@pytest.fixture
async def proxy():
    async with running_proxy() as proxy:
        yield proxy


@pytest.fixture
async def priced():
    """A proxy whose model costs a dollar a token of output, and nothing else."""
    models = [{"model": "gpt-4", "input_usd_per_mtok": "0", "output_usd_per_mtok": "1000000"}]
    async with ScriptedProvider(scripted("a")) as provider, running_proxy() as proxy:
        adapter = OpenAIAdapter(base_url=provider.base_url, models=parse_offers(models))
        await proxy.node.manage.register_provider("openai", adapter, actor="test")
        await proxy.node.manage.register_key("sk-test-a", "openai", {}, actor="test")
        yield proxy


async def call(proxy, method, path, body=None, *, status=200):
    answer = await proxy.client.request(method, f"/api/v1{path}", json=body, headers=KEY)
    assert answer.status_code == status, answer.text
    return answer.json()


async def opened(proxy, **changes):
    return await call(proxy, "POST", "/budgets", MONTHLY | changes, status=201)


class TestTheLifeOfABudget:
    async def test_it_is_opened_and_found(self, proxy):
        """What was asked for comes back, with what is left of it."""
        budget = await opened(proxy, name="research, monthly", timezone="Europe/Berlin")
        assert (budget["limit"], budget["spent"], budget["remaining"]) == ("250", "0", "250")
        assert (budget["scope"], budget["enforcement_mode"]) == ("team", "hard")
        assert (budget["alerts_percent"], budget["alerted_percent"]) == ([80, 100], None)
        assert budget["resets_at"].endswith("Z")
        assert await call(proxy, "GET", f"/budgets/{budget['id']}") == budget
        assert await call(proxy, "GET", "/budgets") == [budget]

    async def test_what_is_not_named_stays(self, proxy):
        """A change of the limit leaves period, zone and alerts as they were."""
        budget = await opened(proxy, timezone="Europe/Berlin", alerts_percent=[50])
        changed = await call(proxy, "PATCH", f"/budgets/{budget['id']}", {"limit": "0.5"})
        assert changed == budget | {"limit": "0.5", "remaining": "0.5"}

    async def test_a_period_is_changed_with_what_belongs_to_it(self, proxy):
        """Seconds go with the custom period, the time zone with the calendar."""
        budget = await opened(proxy, timezone="Europe/Berlin")
        path = f"/budgets/{budget['id']}"
        custom = await call(proxy, "PATCH", path, {"period": "custom", "seconds": 90})
        assert (custom["period"], custom["seconds"]) == ("custom", 90)
        daily = await call(proxy, "PATCH", path, {"period": "daily", "timezone": "Europe/Berlin"})
        assert (daily["period"], daily["seconds"], daily["timezone"]) == ("daily", None, "Europe/Berlin")
        rolling = await call(proxy, "PATCH", path, {"rolling": True})
        assert (rolling["rolling"], rolling["timezone"]) == (True, "UTC")

    async def test_an_empty_list_of_alerts_ends_them(self, proxy):
        """Where null would leave them as they are."""
        budget = await opened(proxy)
        path = f"/budgets/{budget['id']}"
        assert (await call(proxy, "PATCH", path, {"alerts_percent": None}))["alerts_percent"] == [80, 100]
        assert (await call(proxy, "PATCH", path, {"alerts_percent": []}))["alerts_percent"] == []

    async def test_a_top_up_is_for_the_present_window(self, proxy):
        """More may be spent, while the limit stays what it is."""
        budget = await opened(proxy)
        more = {"amount": "0.000000001", "reason": "the demo"}
        told = await call(proxy, "POST", f"/budgets/{budget['id']}/top-up", more)
        assert (told["limit"], told["topped_up"], told["remaining"]) == (
            "250",
            "0.000000001",
            "250.000000001",
        )

    async def test_a_closed_budget_is_listed_on_request(self, proxy):
        """It bounds nothing any more, cannot be changed, and its history stays."""
        budget = await opened(proxy)
        path = f"/budgets/{budget['id']}"
        assert (await call(proxy, "POST", f"{path}/close"))["closed"]
        assert await call(proxy, "GET", "/budgets") == []
        assert len(await call(proxy, "GET", "/budgets?closed=true")) == 1
        await call(proxy, "POST", f"{path}/top-up", {"amount": "1"}, status=409)
        await call(proxy, "POST", f"{path}/close", {"reason": "again"}, status=409)

    async def test_who_did_what_is_told(self, proxy):
        """Every change with its author and reason, the latest where not all are asked for."""
        path = f"/budgets/{(await opened(proxy))['id']}"
        await call(proxy, "PATCH", path, {"limit": "400", "reason": "two more people"})
        await call(proxy, "POST", f"{path}/close", {"reason": "it is over"})
        events = await call(proxy, "GET", f"{path}/events")
        assert [event["name"] for event in events] == [
            "budget.opened.v1",
            "budget.terms_set.v1",
            "budget.closed.v1",
        ]
        assert {event["data"]["actor"] for event in events} == {"command-line"}
        assert events[1]["data"]["reason"] == "two more people"
        assert await call(proxy, "GET", f"{path}/events?limit=1") == events[-1:]

    async def test_the_list_is_filtered_and_paged(self, proxy):
        """By scope, by whose it is, and by place."""
        ids = [(await opened(proxy, scope_id=str(number)))["id"] for number in range(20)]
        total = await opened(proxy, scope="global", scope_id=None)

        async def listed(query):
            return [budget["id"] for budget in await call(proxy, "GET", f"/budgets?{query}")]

        assert await listed("scope=global") == [total["id"]]
        assert await listed("scope=team&scope_id=7") == [ids[7]]
        assert await listed("after=18&limit=2") == ids[18:20]
        assert len(await listed("")) == 21


class TestSpending:
    async def test_what_is_spent_is_shown_and_what_does_not_fit_is_refused(self, priced):
        """The figures of the page are those of the refusal, to the nano-dollar."""
        budget = await opened(priced, scope="global", scope_id=None, limit="40", alerts_percent=[50])
        answer = await priced.ask(max_tokens=30)
        spent = answer.headers["x-akr-cost-usd"]
        now = await call(priced, "GET", f"/budgets/{budget['id']}")
        assert float(now["spent"]) == float(spent) > 0
        assert float(now["remaining"]) == 40 - float(spent)
        refused = await priced.ask(max_tokens=41)
        assert refused.status_code == 429
        assert float(refused.headers["x-akr-budget-remaining-usd"]) == float(now["remaining"])
        assert (
            f'apikeyrouter_budget_refusals_total{{budget="{budget["id"]}",scope="global"}} 1.0'
            in (await priced.client.get("/metrics")).text
        )

    async def test_what_is_spent_moves_into_another_window(self, priced):
        """A change of the period sets nothing back to zero."""
        budget = await opened(priced, scope="global", scope_id=None, limit="40")
        await priced.ask(max_tokens=30)
        path = f"/budgets/{budget['id']}"
        spent = (await call(priced, "GET", path))["spent"]
        for change in ({"period": "daily"}, {"rolling": True}, {"limit": "1"}):
            told = await call(priced, "PATCH", path, change)
            assert told["spent"] == spent
        assert told["remaining"] == "0"

    async def test_an_alert_is_told_once(self, priced):
        """The threshold that was told of stands beside the budget, and the alert among its events."""
        budget = await opened(priced, scope="global", scope_id=None, limit="1000", alerts_percent=[1])
        await priced.ask(max_tokens=30)
        await priced.ask(max_tokens=30)
        path = f"/budgets/{budget['id']}"
        assert (await call(priced, "GET", path))["alerted_percent"] == 1
        names = [event["name"] for event in await call(priced, "GET", f"{path}/events")]
        assert names.count("budget.alerted.v1") == 1


class TestMetrics:
    async def test_open_budgets_have_gauges(self, proxy):
        """By id and scope and nothing that names a client; a closed one is gone."""
        budget = await opened(proxy, name="the-secret-name")
        await call(proxy, "POST", f"/budgets/{budget['id']}/top-up", {"amount": "50"})
        closed = await opened(proxy, scope_id="somebody")
        await call(proxy, "POST", f"/budgets/{closed['id']}/close")
        text = (await proxy.client.get("/metrics")).text
        labels = f'{{budget="{budget["id"]}",scope="team"}}'
        assert f"apikeyrouter_budget_limit_nano_usd{labels} 3e+11" in text
        assert f"apikeyrouter_budget_remaining_nano_usd{labels} 3e+11" in text
        assert f"apikeyrouter_budget_spent_nano_usd{labels} 0.0" in text
        assert f"apikeyrouter_budget_reserved_nano_usd{labels} 0.0" in text
        assert "apikeyrouter_budgets 1.0" in text
        assert closed["id"] not in text
        assert "secret-name" not in text
        assert "research" not in text

    async def test_series_are_bounded(self, proxy, monkeypatch):
        """Those beyond the bound are counted only."""
        monkeypatch.setattr("apikeyrouter.adapters.telemetry.standing.MOST_METRIC_BUDGETS", 2)
        for number in range(3):
            await opened(proxy, scope_id=str(number))
        text = (await proxy.client.get("/metrics")).text
        assert text.count("apikeyrouter_budget_limit_nano_usd{") == 2
        assert "apikeyrouter_budgets 3.0" in text


class TestRefusals:
    @pytest.mark.parametrize("limit", [12.5, 0.1, 1e9, True, None, [], {}])
    async def test_amounts_are_texts_or_whole_numbers(self, proxy, limit):
        """A float is refused in words that say why: its cents are not what they seem."""
        for method, path, body, param in (
            ("POST", "/budgets", MONTHLY | {"limit": limit}, "limit"),
            ("POST", f"/budgets/{(await opened(proxy))['id']}/top-up", {"amount": limit}, "amount"),
        ):
            error = (await call(proxy, method, path, body, status=400))["error"]
            assert error["param"] == param
            assert error["message"] == (
                f'{param}: must be US dollars as a text, such as "12.50", or a whole number: a number with a'
                " point is a float, and not exact"
            )

    async def test_a_float_is_refused_in_a_change_as_well(self, proxy):
        """Where null would mean that nothing changes."""
        path = f"/budgets/{(await opened(proxy))['id']}"
        error = (await call(proxy, "PATCH", path, {"limit": 0.5}, status=400))["error"]
        assert error["param"] == "limit"
        assert "not exact" in error["message"]

    @pytest.mark.parametrize(
        ("changes", "param"),
        [
            ({"limit": "twelve"}, "limit"),
            ({"limit": "-1"}, "limit"),
            ({"limit": "0.0000000001"}, "limit"),
            ({"limit": "NaN"}, "limit"),
            ({"scope": "universe"}, "scope"),
            ({"scope_id": None}, "scope_id"),
            ({"scope": "global"}, "scope_id"),
            ({"period": "fortnightly"}, "period"),
            ({"period": "custom"}, "seconds"),
            ({"seconds": 5}, "seconds"),
            ({"enforcement_mode": "strict"}, "enforcement_mode"),
            ({"alerts_percent": ["80"]}, "alerts_percent.0"),
            ({"alerts_percent": [0]}, "alerts_percent"),
            ({"rolling": "yes"}, "rolling"),
            ({"colour": "red"}, "colour"),
            ({"timezone": "Mars/Base"}, "timezone"),
        ],
    )
    async def test_unusable_terms(self, proxy, changes, param):
        """The field at fault is named, nothing is opened."""
        error = (await call(proxy, "POST", "/budgets", MONTHLY | changes, status=400))["error"]
        assert error["type"] == "invalid_request_error"
        assert error["param"] == param
        assert await call(proxy, "GET", "/budgets") == []

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("GET", "", None),
            ("GET", "/events", None),
            ("PATCH", "", {"limit": "1"}),
            ("POST", "/top-up", {"amount": "1"}),
            ("POST", "/close", None),
        ],
    )
    async def test_unknown_budgets(self, proxy, method, path, body):
        """Not found, in the shape of every other error."""
        error = (await call(proxy, method, f"/budgets/{NOBODY}{path}", body, status=404))["error"]
        assert NOBODY in error["message"]

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/budgets"),
            ("POST", "/budgets"),
            ("GET", f"/budgets/{NOBODY}"),
            ("GET", f"/budgets/{NOBODY}/events"),
            ("PATCH", f"/budgets/{NOBODY}"),
            ("POST", f"/budgets/{NOBODY}/top-up"),
            ("POST", f"/budgets/{NOBODY}/close"),
            ("GET", "/models/equivalents"),
            ("POST", "/models/equivalents"),
            ("DELETE", "/models/equivalents?model=a"),
        ],
    )
    async def test_strangers_are_kept_out(self, proxy, method, path):
        """Without a management key nothing is told and nothing is changed."""
        assert (await proxy.client.request(method, f"/api/v1{path}", json={})).status_code == 401


class TestEquivalents:
    async def test_they_are_said_listed_and_taken_back(self, proxy):
        """What is said of a model replaces what was said before; names may have slashes."""
        first = {"model": "meta/llama-3", "equivalents": ["llama-3"], "cheaper": []}
        await call(proxy, "POST", "/models/equivalents", first)
        said = first | {"cheaper": ["llama-3-8b"]}
        told = await call(proxy, "POST", "/models/equivalents", said)
        assert told.items() >= (said | {"actor": "command-line"}).items()
        assert await call(proxy, "GET", "/models/equivalents") == [told]
        await call(proxy, "DELETE", "/models/equivalents?model=meta/llama-3")
        assert await call(proxy, "GET", "/models/equivalents") == []
        await call(proxy, "DELETE", "/models/equivalents?model=meta/llama-3", status=404)

    @pytest.mark.parametrize(
        "body",
        [
            {"model": "a"},
            {"model": "a", "equivalents": ["a"]},
            {"model": "a", "equivalents": ["b"], "cheaper": ["b"]},
            {"model": "", "equivalents": ["b"]},
            {"model": "a", "equal": ["b"]},
        ],
    )
    async def test_what_makes_no_sense_is_refused(self, proxy, body):
        """Nothing, the model itself, one twice, no name, an unknown field."""
        await call(proxy, "POST", "/models/equivalents", body, status=400)


async def test_every_route_is_documented(proxy):
    """With its bodies, its answers, and an amount that is a text."""
    document = (await proxy.client.get("/openapi.json")).json()
    routes = {path for path in document["paths"] if "/budgets" in path or "/equivalents" in path}
    assert routes == {
        "/api/v1/budgets",
        "/api/v1/budgets/{budget_id}",
        "/api/v1/budgets/{budget_id}/events",
        "/api/v1/budgets/{budget_id}/top-up",
        "/api/v1/budgets/{budget_id}/close",
        "/api/v1/models/equivalents",
    }
    schemas = document["components"]["schemas"]
    assert "string" in schemas["NewBudget"]["properties"]["limit"]["type"]
    assert schemas["BudgetStanding"]["properties"]["remaining"]["type"] == "string"
    for path in routes:
        assert all(operation["description"] for operation in document["paths"][path].values())

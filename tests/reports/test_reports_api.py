"""Reports over the management API: the same questions, the same errors as everywhere."""

import csv
import io
from decimal import Decimal

import pytest
from accountant import recomputed
from loopback import RUN_KEY, running_proxy, scripted

from apikeyrouter.domain.pricing import NANO_PER_USD
from apikeyrouter.interfaces.scripted_provider import ScriptedProvider
from apikeyrouter.settings import RouterSettings

KEY = {"x-api-key": RUN_KEY}


@pytest.fixture(params=["in a file", "in memory"])
async def proxy(request, tmp_path):
    """A server with a key, whose log is a file or lives in memory."""
    settings = RouterSettings(database_url=str(tmp_path / "log.db") if request.param == "in a file" else None)
    async with ScriptedProvider(scripted("a")) as provider, running_proxy(settings) as proxy:
        await proxy.provide(provider, "a")
        yield proxy


async def get(proxy, path, **parameters):
    return await proxy.client.get(f"/api/v1/reports{path}", params=parameters, headers=KEY)


async def test_the_reports_that_there_are(proxy):
    """Each with what it can be grouped by."""
    told = {one["report"]: one for one in (await get(proxy, "")).json()}
    assert "client" in told["spend"]["columns"]
    assert "forecast" in told


async def test_a_report_follows_the_log(proxy):
    """What was served a moment ago is in it."""
    for calls in (1, 2):
        assert (await proxy.ask()).status_code == 200
        told = (await get(proxy, "/spend", by="provider,key", where="provider=openai", last="1h")).json()
        assert [(row["key"], row["calls"]) for row in told["rows"]] == [(proxy.key_ids["a"], calls)]
        assert told["as_of"] == proxy.node.state.position


async def test_the_events_behind_a_number(proxy):
    """In pages, each event by its place in the log."""
    await proxy.ask()
    traced = (await get(proxy, "/usage/trace", where=f"key={proxy.key_ids['a']}", limit=1)).json()
    assert traced["count"] == 2
    event = traced["events"][0]
    stored = next(iter(proxy.node.reader.read(event["position"] - 1, event["position"])))
    assert (event["stream"], event["version"]) == (stored.stream, stored.version)
    rest = (await get(proxy, "/usage/trace", after=event["position"])).json()
    assert [one["name"] for one in rest["events"]] == ["request.completed.v2"]


@pytest.mark.parametrize("tz", ["UTC", "Asia/Kathmandu"])
@pytest.mark.parametrize(
    ("report", "by"),
    [
        ("spend", "hour,client,model,provider"),
        ("usage", "day,key,state"),
        ("completeness", "month,key"),
        ("sla", "hour,requested_model,provider"),
        ("admin", "position,at,actor,act"),
        ("admin", "day,act"),
        ("keys", "at,key,change,until"),
        ("access", "at,node,change"),
    ],
)
async def test_a_row_lists_its_events_by_its_own_words(proxy, report, by, tz):
    """What an answer shows, put back as conditions, lists the events that its numbers come out of again."""
    for _ in range(2):
        await proxy.ask()
    answer = (await get(proxy, f"/{report}", by=by, tz=tz)).json()
    assert answer["rows"]
    for row in answer["rows"]:
        where = [f"{name}={'' if row[name] is None else row[name]}" for name in answer["by"]]
        traced = (await get(proxy, f"/{report}/trace", where=where, tz=tz)).json()
        reader = proxy.node.reader
        events = [reader.event(one["stream"], one["version"]) for one in traced["events"]]
        assert [one.position for one in events] == [one["position"] for one in traced["events"]]
        again = recomputed(report, events, row)
        for name, value in row.items():
            if name.endswith("_usd"):
                assert Decimal(value) * NANO_PER_USD == again[name.removesuffix("_usd")]
            elif isinstance(value, int | float) and name not in answer["by"]:
                assert value == again[name], name


async def test_csv(proxy):
    """With its media type, and decimal dollars."""
    await proxy.ask()
    response = await get(proxy, "/spend", format="csv", by="key")
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert rows[0]["key"] == proxy.key_ids["a"]


async def test_the_forecast_score_is_the_folds(proxy):
    """It is answered from the state."""
    told = (await get(proxy, "/forecast")).json()
    assert told["as_of"] == proxy.node.state.position


@pytest.mark.parametrize(
    ("path", "parameters", "status", "said"),
    [
        ("/weather", {}, 404, "no report"),
        ("/spend", {"by": "colour"}, 400, "no column"),
        ("/spend", {"from": "soon"}, 400, "no date"),
        ("/spend", {"tz": "Mars/Olympus"}, 400, "time zone"),
        ("/spend", {"limit": "0"}, 400, "limit"),
        ("/spend", {"format": "xml"}, 400, "format"),
        ("/spend/trace", {"after": "9" * 30}, 400, "after"),
        ("/forecast", {"by": "key"}, 400, "no period"),
        ("/forecast/trace", {}, 400, "fold"),
    ],
)
async def test_refusals_are_in_the_usual_dialect(proxy, path, parameters, status, said):
    """An error object with a message for people."""
    response = await get(proxy, path, **parameters)
    assert response.status_code == status
    assert said in response.json()["error"]["message"]


async def test_strangers_see_nothing(proxy):
    """Reports need the management key."""
    for path in ("", "/spend", "/spend/trace"):
        assert (await proxy.client.get(f"/api/v1/reports{path}")).status_code == 401

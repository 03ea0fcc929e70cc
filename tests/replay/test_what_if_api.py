"""What-if and bisect over the management API: the answers of the command line, one at a time."""

import asyncio
import json
import threading

import pytest
from loopback import RUN_KEY, eventually, running_proxy, scripted
from typer.testing import CliRunner

from apikeyrouter.interfaces.cli.main import app
from apikeyrouter.interfaces.http import long_questions, what_if_api
from apikeyrouter.interfaces.http.long_questions import AbandonedError, Pacing
from apikeyrouter.interfaces.scripted_provider import ScriptedProvider
from apikeyrouter.settings import RouterSettings

KEY = {"x-api-key": RUN_KEY}
WHAT_IF, BISECT = "/api/v1/what-if", "/api/v1/replay/bisect"


@pytest.fixture
async def served(tmp_path):
    """A server with a history in a file: two keys of different providers, and some requests."""
    settings = RouterSettings(database_url=str(tmp_path / "log.db"))
    async with (
        ScriptedProvider(scripted("a", "b")) as provider,
        running_proxy(settings) as proxy,
    ):
        await proxy.provide(provider, "a", rpm=50)
        for _ in range(3):
            assert (await proxy.ask()).status_code == 200
        await proxy.provide(provider, "b", provider_id="other")
        await proxy.node.manage.disable_key(proxy.key_ids["a"], actor="test")
        proxy.last = (await proxy.ask()).headers["x-request-id"]
        proxy.log = tmp_path / "log.db"
        yield proxy


async def post(proxy, path, status=200, **body):
    response = await proxy.client.post(path, json=body, headers=KEY)
    assert response.status_code == status, response.text
    return response.json()


async def on_command_line(proxy, *arguments):
    command = [*arguments, "--json", "--database", str(proxy.log)]
    result = await asyncio.to_thread(CliRunner().invoke, app, command)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    ("body", "options"),
    [
        ({}, ()),
        ({"objective": "cost", "draws": 2}, ("--objective", "cost", "--draws", "2")),
        ({"add": ["openai:rpm=5"], "limit": ["rpm=1"]}, ("--add", "openai:rpm=5", "--limit", "rpm=1")),
        ({"price": ["openai/gpt-4=2.5,10"], "from": 5}, ("--price", "openai/gpt-4=2.5,10", "--from", "5")),
        ({"book": True, "to": 9, "draws": 1}, ("--book", "--to", "9", "--draws", "1")),
        ({"queue_timeout_s": 2, "max_attempts": 1}, ("--queue-timeout", "2", "--max-attempts", "1")),
    ],
)
async def test_a_what_if_is_answered_as_on_the_command_line(served, body, options):
    """The same document, figure by figure, for each kind of change."""
    assert await post(served, WHAT_IF, **body) == await on_command_line(served, "what-if", *options)


async def test_without_a_change_history_comes_out_again(served):
    """The control."""
    assert (await post(served, WHAT_IF))["identical"]


async def test_a_removed_key_is_gone(served):
    """By the id that it has."""
    told = await post(served, WHAT_IF, remove=[served.key_ids["b"]])
    assert not told["identical"]
    assert told["figures"]["completed"]["before"] == 4
    assert told["figures"]["completed"]["high"] == 3


@pytest.mark.parametrize("by", ["key", "provider", "verdict"])
async def test_a_bisection_is_answered_as_on_the_command_line(served, by):
    """For a model, and for a recorded request."""
    for body, options in (
        ({"model": "gpt-4", "objective": "cost"}, ("--model", "gpt-4", "--objective", "cost")),
        ({"request_id": served.last}, (served.last,)),
        (
            {"request_id": served.last, "from": 3, "every_event": True},
            (served.last, "--from", "3", "--every-event"),
        ),
    ):
        command = ("replay", "bisect", *options, "--by", by)
        assert await post(served, BISECT, by=by, **body) == await on_command_line(served, *command)


async def test_the_event_that_turned_it_is_named(served):
    """The key was disabled: since then another provider serves."""
    turn = (await post(served, BISECT, request_id=served.last))["turn"]
    assert turn["event"]["name"] in {"key.state_changed.v1", "key.registered.v1"}


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        (WHAT_IF, {"objective": "nonsense"}, 400, "nonsense"),
        (WHAT_IF, {"objective": {"primary": "nonsense"}}, 400, "objective.primary"),
        (WHAT_IF, {"objective": {"colour": 1}}, 400, "colour"),
        (WHAT_IF, {"limit": ["rpm"]}, 400, "NAME=VALUE"),
        (WHAT_IF, {"colour": "red"}, 400, "colour"),
        (WHAT_IF, {"draws": 1000}, 400, "draws"),
        (WHAT_IF, {"from": 0}, 400, "from"),
        (WHAT_IF, {"remove": ["x"] * 201}, 400, "remove"),
        (WHAT_IF, {"objective": "x" * 501}, 400, "objective"),
        (BISECT, {}, 400, "either a request_id or a model"),
        (BISECT, {"model": "gpt-4", "request_id": "x"}, 400, "either a request_id or a model"),
        (BISECT, {"request_id": "none"}, 404, "none"),
        (BISECT, {"model": "gpt-4", "by": "colour"}, 400, "by"),
        (BISECT, {"model": "gpt-4", "from": 5, "to": 4}, 400, "no events"),
    ],
)
async def test_what_cannot_be_asked_is_refused(served, path, body, status, said):
    """In words that name the field, and with nothing left running."""
    assert said in (await post(served, path, status, **body))["error"]["message"]
    await post(served, WHAT_IF, to=2)


async def test_strangers_are_turned_away(served):
    """Both need the management key."""
    for path in (WHAT_IF, BISECT):
        assert (await served.client.post(path, json={"model": "gpt-4"})).status_code == 401


@pytest.mark.parametrize(
    ("path", "body", "command"),
    [(WHAT_IF, {}, "`apikeyrouter what-if`"), (BISECT, {"model": "gpt-4"}, "`apikeyrouter replay bisect`")],
)
async def test_more_events_than_a_server_reads_are_left_to_the_command_line(
    served, monkeypatch, path, body, command
):
    """The refusal names the command; an earlier end is still answered."""
    monkeypatch.setattr(long_questions, "MOST_REPLAYED_EVENTS", 6)
    assert command in (await post(served, path, 400, **body))["error"]["message"]
    await post(served, path, to=6, **body)


class Held:
    """Stands in for the reading of the log: goes on when it is let."""

    def __init__(self, monkeypatch):
        self.begun, self.go_on, self.abandoned = threading.Event(), threading.Event(), threading.Event()
        self._rerun = what_if_api._rerun
        monkeypatch.setattr(what_if_api, "_rerun", self)

    def __call__(self, node, question, pacing):
        self.begun.set()
        while not self.go_on.wait(0.01):
            if pacing._stopped.is_set():
                self.abandoned.set()
                raise AbandonedError("nobody waits")
        return self._rerun(node, question, pacing)


async def test_one_question_is_answered_at_a_time(served, monkeypatch):
    """The second is told when to come again; requests are served meanwhile, and then it has its turn."""
    held = Held(monkeypatch)
    first = asyncio.create_task(post(served, WHAT_IF))
    await eventually(held.begun.is_set)
    second = await served.client.post(BISECT, json={"model": "gpt-4"}, headers=KEY)
    assert (second.status_code, second.json()["error"]["code"]) == (429, "busy")
    assert int(second.headers["retry-after"]) > 0
    assert (await served.ask()).status_code == 200
    held.go_on.set()
    assert (await first)["identical"]
    assert (await post(served, BISECT, model="gpt-4"))["now"]


async def test_who_leaves_is_not_answered(served, monkeypatch):
    """The work ends when its client has gone, and the next question finds the place free."""
    held = Held(monkeypatch)
    asking = asyncio.create_task(post(served, WHAT_IF))
    await eventually(held.begun.is_set)
    asking.cancel()
    await eventually(held.abandoned.is_set)
    held.go_on.set()
    await eventually(lambda: not served.proxy._behind._app.state.long_questions._busy)
    assert (await post(served, WHAT_IF))["identical"]


def test_work_for_nobody_ends_at_the_next_pause(monkeypatch):
    """Between two events, wherever it is."""
    monkeypatch.setattr(long_questions, "WORK_S", 0.0)
    pacing = Pacing()
    assert list(pacing.events([1, 2, 3])) == [1, 2, 3]
    coming = pacing.events([1, 2, 3])
    next(coming)
    pacing.stop()
    with pytest.raises(AbandonedError):
        next(coming)


async def test_both_are_documented(served):
    """With the fields that they take."""
    document = (await served.client.get("/openapi.json")).json()
    for path, field in ((WHAT_IF, "queue_timeout_s"), (BISECT, "every_event")):
        schema = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        name = schema["$ref"].rpartition("/")[2]
        assert {"from", "to", field} <= set(document["components"]["schemas"][name]["properties"])

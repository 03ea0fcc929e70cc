"""Quotas, forecasts and states of keys from the command line, alone and beside a server."""

import asyncio
import json

import pytest
from typer.testing import CliRunner

from apikeyrouter import ApiKeyRouter, RouterSettings
from apikeyrouter.infrastructure.adapters.openai_adapter import OpenAIAdapter
from apikeyrouter.interfaces.cli.main import app
from apikeyrouter.interfaces.scripted_provider import Fault, FaultKind, KeyScript, Script, ThreadedProvider

MATERIAL = "sk-test-material-of-a-key"
INTENT = {"model": "swift-1", "messages": [{"role": "user", "content": "Hello!"}]}
NAMES = ("one", "two", "three")


@pytest.fixture
def key_id(commands):
    commands.data("providers", "add", "openai")
    arguments = ("--stdin", "--label", "main", "--rpm", "50")
    return commands.data("keys", "add", "openai", *arguments, stdin=MATERIAL)["id"]


@pytest.fixture(scope="module")
def furnished(tmp_path_factory):
    """Make a log with a limited key at its end, one without limits, and a request that waited."""
    log = tmp_path_factory.mktemp("log") / "log.db"
    with ThreadedProvider(Script(accept_any_key=True)) as provider:
        waited = asyncio.run(_routed(str(log), provider.base_url))
    return log, waited


async def _routed(log: str, base_url: str) -> str:
    settings = RouterSettings(database_url=log, synchronous="NORMAL", queue_timeout_s=10)
    async with ApiKeyRouter(config=settings) as router:
        await router.register_provider("openai", OpenAIAdapter(base_url=base_url))
        limits = {"label": "limited", "rpd": 4, "max_concurrency": 1}
        limited = await router.register_key("sk-test-limited", "openai", limits)
        answers = await asyncio.gather(*(router.route(INTENT) for _ in range(4)))
        free = await router.register_key("sk-test-free", "openai", {"label": "free"})
        assert limited.id != free.id
        trails = [await router.explain(answer.request_id) for answer in answers]
    return next(trail.request_id for trail in trails if len(trail.sentences) > 1)


@pytest.fixture
def on_log(commands, furnished):
    commands.log, commands.waited = furnished
    return commands


class TestLimit:
    def test_named_limits_change_and_others_stay(self, commands, key_id):
        """One is replaced, tpm comes, a limit for a model too, the label stays."""
        changed = commands.data("keys", "limit", key_id, "rpm=500", "tpm=40_000", "rpd:gpt-4o=9")
        assert changed["metadata"] == {"label": "main", "rpm": 500, "tpm": 40_000, "rpd:gpt-4o": 9}

    def test_an_empty_amount_lifts_a_limit(self, commands, key_id):
        """NAME= removes what was declared."""
        assert commands.data("keys", "limit", key_id, "rpm=")["metadata"] == {"label": "main"}

    def test_settings_of_limits_are_texts(self, commands, key_id):
        """A group or a time zone is declared the same way."""
        changed = commands.data("keys", "limit", key_id, "quota_group=team", "quota_timezone=Europe/Berlin")
        assert changed["metadata"]["quota_group"] == "team"

    @pytest.mark.parametrize("word", [MATERIAL, "colour=red", "=5", f"{MATERIAL}=", "rpm"])
    def test_what_is_no_limit_is_refused_and_not_repeated(self, commands, key_id, word):
        """A key that was pasted in the wrong place is not shown again."""
        result = commands.run("keys", "limit", key_id, word)
        assert result.exit_code == 2
        assert MATERIAL not in result.output

    @pytest.mark.parametrize("word", ["rpm=0", "rpm=x", "rpm=-1", "rpm=1.5", f"rpm={10**30}"])
    def test_an_unusable_amount_is_refused_in_words(self, commands, key_id, word):
        """The refusal names the limit, and nothing changes."""
        result = commands.run("keys", "limit", key_id, word)
        assert result.exit_code == 1
        assert "metadata.rpm" in result.stderr
        assert commands.data("keys", "show", key_id)["metadata"]["rpm"] == 50

    def test_twice_is_refused(self, commands, key_id):
        """Two amounts for one name are a slip, not a choice."""
        assert commands.run("keys", "limit", key_id, "rpm=1", "rpm=2").exit_code == 2


class TestStates:
    def test_drain_pin_unpin(self, commands, key_id):
        """Each act tells what became of the key; what cannot be done is refused in words."""
        assert commands.data("keys", "pin", key_id)["pinned"] is True
        assert "pinned" in commands.run("keys", "list").stdout
        again = commands.run("keys", "pin", key_id)
        assert (again.exit_code, "pinned already" in again.stderr) == (1, True)
        assert commands.data("keys", "unpin", key_id)["pinned"] is False
        assert commands.data("keys", "drain", key_id)["state"] == "disabled"

    @pytest.mark.parametrize("act", ["drain", "pin", "unpin"])
    def test_an_unknown_key(self, commands, key_id, act):
        """An id that nobody has is refused."""
        assert commands.run("keys", act, "nobody").exit_code == 1


class TestQuotaColumns:
    def test_the_list_shows_what_is_left(self, on_log):
        """The tightest limit of each key with its capacity; a key without one says so."""
        shown = on_log.run("keys", "list").stdout
        assert "0/4 rpd" in shown
        assert "exhausted" in shown
        assert "unknown" in shown
        states = [key["quota"]["capacity_state"] for key in on_log.data("keys", "list")]
        assert states == ["exhausted", "unknown"]

    def test_one_key_shows_all_its_limits(self, on_log):
        """Allowed, known from where, settled, reserved and left, and when it is given back."""
        limited, free = on_log.data("keys", "list")
        shown = on_log.run("keys", "show", limited["id"]).stdout
        assert "declared" in shown
        assert "gives back at" in shown
        assert "Quotas: no limit known." in on_log.run("keys", "show", free["id"]).stdout
        [account] = on_log.data("keys", "show", limited["id"])["quota"]["accounts"]
        assert (account["settled"], account["reserved"], account["remaining"]) == (4, 0, 0)

    def test_large_amounts_stay_readable(self, commands, key_id):
        """A limit of millions does not push the id of the key off the page."""
        commands.data("keys", "limit", key_id, "rpm=", "tpm=2_000_000", "tpd:some-model=900_000_000")
        shown = commands.run("keys", "list").stdout
        assert "2,000k/2,000k" in shown
        assert "available" in shown
        assert "abundant" in shown
        assert key_id in shown


class TestForecast:
    def test_the_table_of_all(self, on_log):
        """`forecast` alone shows every limit, its state, and when it runs out."""
        shown = on_log.run("forecast").stdout
        assert "limited" in shown
        assert "100%" in shown
        ids = [
            [one["account_id"] for one in on_log.data(*words)]
            for words in (["forecast"], ["forecast", "show"])
        ]
        assert ids[0] == ids[1]
        assert len(ids[0]) == 1

    def test_one_key(self, on_log):
        """`forecast KEY` is short for `forecast show KEY`."""
        limited, free = on_log.data("keys", "list")
        told = on_log.data("forecast", limited["id"])
        assert (told["key_id"], told["probability"]) == (limited["id"], 1.0)
        assert on_log.data("forecast", free["id"])["probability"] is None
        assert "nothing can be foreseen" in on_log.run("forecast", free["id"]).stdout

    def test_an_unknown_key(self, on_log):
        """An id that nobody has is refused in words."""
        result = on_log.run("forecast", "nobody")
        assert result.exit_code == 1
        assert "nobody" in result.stderr

    def test_the_group_explains_itself(self, on_log):
        """--help shows the commands, and does not take a key for one."""
        shown = CliRunner().invoke(app, ["forecast", "--help"]).stdout
        assert "backtest" in shown
        assert "show" in shown


class TestExplain:
    def test_a_request_that_waited(self, on_log):
        """The story begins with the wait: why, how long at most, who was full."""
        shown = on_log.run("explain", on_log.waited).stdout
        assert "Deferred at position" in shown
        assert "limited excluded by max_concurrency" in shown
        assert "Reserved: 1 of" in " ".join(shown.split())
        assert "headroom" in shown

    def test_what_followed(self, commands):
        """A failure that sent the key to rest is told after the events, under the key's name."""
        with ThreadedProvider(Script(keys={"k": _refusing(429, NAMES[0])})) as provider:
            request_id = asyncio.run(_failed(str(commands.log), provider.base_url, 1))
        shown = " ".join(commands.run("explain", request_id).stdout.split())
        assert "What followed" in shown
        assert "The key is throttled (rate_limited)" in shown
        [consequence] = commands.data("explain", request_id)["consequences"]
        assert consequence["name"] == "key.state_changed.v1"


class TestProviders:
    def test_health_is_shown(self, commands):
        """A provider that went down says so, and until when."""
        with ThreadedProvider(Script(keys={name: _refusing(500, name) for name in NAMES})) as provider:
            asyncio.run(_failed(str(commands.log), provider.base_url, 6))
        [provider] = commands.data("providers", "list")
        assert (provider["health"], provider["failures_since_success"] >= 5) == ("down", True)
        assert "down until" in " ".join(commands.run("providers", "list").stdout.split())


def _refusing(status: int, name: str) -> KeyScript:
    return KeyScript(key=f"sk-test-{name}", faults=(Fault(kind=FaultKind.Status, status=status),))


async def _failed(log: str, base_url: str, most: int) -> str:
    """Fail so many requests on at most three keys; return the first one's id."""
    async with ApiKeyRouter(config=RouterSettings(database_url=log, synchronous="NORMAL")) as router:
        await router.register_provider("openai", OpenAIAdapter(base_url=base_url))
        for name in NAMES[:most]:
            await router.register_key(f"sk-test-{name}", "openai", {"label": name})
        failed = [await _failure(router) for _ in range(most)]
    return failed[0]


async def _failure(router: ApiKeyRouter) -> str:
    from apikeyrouter.errors import SystemError as RouterError

    try:
        await router.route(INTENT)
    except RouterError as error:
        return str(error.request_id)
    raise AssertionError("it was served")


def test_beside_a_server(processes):
    """Changes go through the server that runs, and are seen in its answers and its log at once."""
    with processes.serving():
        processes.run("providers", "add", "openai")
        key = json.loads(processes.run("keys", "add", "openai", "--stdin", "--json", stdin=MATERIAL).stdout)
        changed = processes.run("keys", "limit", key["id"], "rpm=7", "--json")
        assert json.loads(changed.stdout)["metadata"] == {"rpm": 7}
        assert "7/7 rpm" in processes.run("keys", "list").stdout
        [foreseen] = json.loads(processes.run("forecast", "--json").stdout)
        assert (foreseen["limit"], foreseen["uncertainty"]) == (7, "unknown")
        assert json.loads(processes.run("keys", "drain", key["id"], "--json").stdout)["state"] == "disabled"

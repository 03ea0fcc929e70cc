"""Budgets and equivalent models from the command line, alone and beside a server."""

import asyncio
import json

import httpx
import pytest
from typer.testing import CliRunner

from apikeyrouter import ApiKeyRouter, RouterSettings
from apikeyrouter.infrastructure.adapters.openai_adapter import OpenAIAdapter
from apikeyrouter.interfaces.cli.main import app
from apikeyrouter.interfaces.scripted_provider import Script, ThreadedProvider

MONTHLY = ("budgets", "create", "250", "--period", "monthly", "--scope", "team", "--id", "research")
NOBODY = "0" * 32


@pytest.fixture
def budget(commands):
    return commands.data(*MONTHLY, "--name", "research, monthly", "--timezone", "Europe/Berlin")


@pytest.fixture(scope="module")
def spent(tmp_path_factory):
    """Make a log with a budget of a hundred dollars, of which some are spent, and the alert that told so."""
    log = tmp_path_factory.mktemp("log") / "log.db"
    with ThreadedProvider(Script(accept_any_key=True)) as provider:
        asyncio.run(_spend(str(log), provider.base_url))
    return log


async def _spend(log, base_url):
    async with ApiKeyRouter(config=RouterSettings(database_url=log, synchronous="NORMAL")) as router:
        await router.register_provider("openai", OpenAIAdapter(base_url=base_url))
        await router.register_key("sk-test-a", "openai")
        dollar = {"input_usd_per_mtok": "0", "output_usd_per_mtok": "1000000"}
        await router.cost_controller.prices.set("openai", "gpt-4", dollar)
        await router.cost_controller.create_budget("global", 100, "total", "soft", alerts_percent=[1, 500])
        await router.route({"model": "gpt-4", "messages": [{"role": "user", "content": "Hello!"}]})


class TestOpening:
    def test_it_is_opened_and_listed(self, commands, budget):
        """With the terms that were given, and those that are usual."""
        assert (budget["scope"], budget["scope_id"], budget["limit"]) == ("team", "research", "250")
        assert (budget["enforcement_mode"], budget["alerts_percent"]) == ("hard", [80, 100])
        assert commands.data("budgets", "list") == [budget]

    def test_what_it_is_is_said(self, commands):
        """In words and whole dollars."""
        shown = commands.run(*MONTHLY, "--mode", "soft", "--downgrade", "--alert", "50").stdout
        for words in (
            "team research",
            "$250.00, monthly (UTC)",
            "soft: tells, and refuses nothing, prefers cheaper models",
            "0 %",
            "at 50 %; none in this period",
        ):
            assert words in shown

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (("--period", "total"), "never"),
            (("--period", "custom", "--seconds", "90", "--rolling"), "$0.50, 90 s rolling"),
            (("--period", "hourly", "--no-alerts"), "alerts     none"),
        ],
    )
    def test_other_windows(self, commands, words, told):
        """For ever, of a length of their own, without alerts."""
        assert told in commands.run("budgets", "create", "0.5", *words).stdout

    @pytest.mark.parametrize(
        "words",
        [
            ("create", "5"),
            ("create", "5", "--period", "daily", "--alert", "5", "--no-alerts"),
            ("set", NOBODY),
            ("top-up", NOBODY),
        ],
    )
    def test_mistakes_in_typing(self, commands, words):
        """Are usage errors, before anything is opened."""
        assert commands.run("budgets", *words).exit_code == 2

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (("create", "five", "--period", "daily"), "limit"),
            (("create", "5", "--period", "nightly"), "'hourly', 'daily'"),
            (("create", "5", "--period", "daily", "--scope", "team"), "scope_id"),
            (("set", NOBODY, "--limit", "5"), NOBODY),
            (("top-up", NOBODY, "5"), NOBODY),
            (("close", NOBODY, "--yes"), NOBODY),
        ],
    )
    def test_what_the_api_refuses_is_told_in_words(self, commands, words, told):
        """As one paragraph, and never as a traceback."""
        refused = commands.run("budgets", *words)
        assert refused.exit_code == 1
        assert told in refused.stderr
        assert "Traceback" not in refused.output


class TestSeeing:
    def test_no_budget(self, commands):
        """The way to one is told."""
        commands.data("providers", "add", "openai")
        assert "budgets create" in commands.run("budgets", "list").stdout
        assert commands.data("budgets", "list") == []

    def test_what_is_spent(self, commands, spent):
        """Amounts exact in JSON, rounded in the table, with a bar and what was told."""
        commands.log = spent
        (budget,) = commands.data("budgets", "list")
        share = int(float(budget["spent"]))
        assert share > 1
        assert float(budget["spent"]) + float(budget["remaining"]) == 100
        assert (budget["reserved"], budget["alerted_percent"]) == ("0", 1)
        shown = commands.run("budgets", "list").stdout
        assert max(map(len, shown.splitlines())) <= 100
        told = ("global", budget["id"], "$100.00", "total, soft", f"{share} %", "alert at 1 %", "never")
        assert all(words in shown for words in told)

    def test_who_did_what(self, commands, spent):
        """One budget with its latest events, the alert among them."""
        commands.log = spent
        (budget,) = commands.data("budgets", "list")
        told = commands.data("budgets", "show", budget["id"])
        assert [event["name"] for event in told["events"]] == ["budget.opened.v1", "budget.alerted.v1"]
        shown = commands.run("budgets", "show", budget["id"]).stdout
        assert "library" in shown
        assert "told that 1 % is reached" in shown
        short = commands.run("budgets", "show", budget["id"], "--events", "1").stdout
        assert "library" not in short
        assert "1 earlier" in short

    def test_which_are_listed(self, commands, budget):
        """By scope and by whose it is; closed ones on request."""
        other = commands.data("budgets", "create", "5", "--period", "daily")
        assert commands.data("budgets", "list", "--scope", "global") == [other]
        assert commands.data("budgets", "list", "--scope", "team", "--id", "research") == [budget]
        commands.data("budgets", "close", budget["id"], "--yes")
        assert commands.data("budgets", "list") == [other]
        assert len(commands.data("budgets", "list", "--closed")) == 2

    def test_an_unknown_budget(self, commands, budget):
        """Is not found."""
        assert commands.run("budgets", "show", NOBODY).exit_code == 1

    def test_strange_names_are_shown_as_they_are(self, commands):
        """What looks like markup is none, and what is long is cut in the table alone."""
        commands.data(*MONTHLY, "--name", "[bold]loud[/bold]")
        commands.data("budgets", "create", "1", "--period", "daily", "--name", "n" * 128)
        assert "[bold]lo" in commands.run("budgets", "list").stdout
        (first, second) = commands.data("budgets", "list")
        assert "[bold]loud[/bold]" in commands.run("budgets", "show", first["id"]).stdout
        assert "n" * 128 in commands.run("budgets", "show", second["id"]).stdout


class TestChanging:
    def test_terms_top_ups_and_the_end(self, commands, budget):
        """Each is an event with its author and its reason, and the story is told."""
        changed = commands.data("budgets", "set", budget["id"], "--limit", "400", "--reason", "two more")
        assert changed == budget | {"limit": "400", "remaining": "400"}
        topped_up = commands.data("budgets", "top-up", budget["id"], "50.5", "--reason", "the demo")
        assert (topped_up["topped_up"], topped_up["remaining"]) == ("50.5", "450.5")
        assert "$50.50 topped up" in commands.run("budgets", "show", budget["id"]).stdout
        assert commands.data("budgets", "close", budget["id"], "--yes", "--reason", "over")["closed"]
        shown = " ".join(commands.run("budgets", "show", budget["id"]).stdout.split())
        for words in ("$250.00 a month", "set to $400.00", "two more", "topped up by $50.50", "closed: over"):
            assert words in shown
        assert shown.count("command-line") == 4

    def test_closing_is_asked_for(self, commands, budget):
        """Without a yes nothing is closed."""
        result = commands.run("budgets", "close", budget["id"], stdin="n\n")
        assert result.exit_code == 1
        assert commands.data("budgets", "list") == [budget]


class TestModels:
    def test_they_are_equated_and_listed(self, commands):
        """Those that nobody lists are marked: they are never chosen."""
        assert "No provider lists a model" in self._shown_without_models(commands)
        commands.data("providers", "add", "other", "--model", "gpt-4o", "--model", "small")
        said = commands.data("models", "equate", "gpt-4o", "--equal", "gpt-4o-later", "--cheaper", "small")
        assert (said["equivalents"], said["cheaper"]) == (["gpt-4o-later"], ["small"])
        assert [(one["model"], one["providers"]) for one in commands.data("models", "list")] == [
            ("gpt-4o", ["other"]),
            ("gpt-4o-later", []),
            ("small", ["other"]),
        ]
        assert "nobody" in commands.run("models", "list").stdout
        assert "served by that model alone" in commands.run("models", "unequate", "gpt-4o").stdout
        assert commands.data("models", "list")[0]["cheaper"] == []
        assert commands.run("models", "unequate", "gpt-4o").exit_code == 1

    def test_what_is_said_is_repeated(self, commands):
        """In a sentence."""
        shown = commands.run(
            "models", "equate", "a/b", "--equal", "c", "--cheaper", "d", "--cheaper", "e"
        ).stdout
        assert "Requests for a/b may also be served by c at any time; by d, e where" in shown

    def test_nothing_to_say(self, commands):
        """Is a mistake in typing."""
        assert commands.run("models", "equate", "gpt-4o").exit_code == 2

    @staticmethod
    def _shown_without_models(commands):
        commands.data("providers", "add", "openai")
        return commands.run("models", "list").stdout


def test_beside_a_server(processes):
    """Commands that change go through its API, those that read need nobody."""
    with processes.serving() as server:
        log = ("--database", str(processes.log))
        opened = CliRunner().invoke(app, [*MONTHLY, *log, "--json"])
        budget = json.loads(opened.stdout)
        topped_up = CliRunner().invoke(app, ["budgets", "top-up", budget["id"], "5", *log])
        assert topped_up.exit_code == 0, topped_up.output
        shown = CliRunner().invoke(app, ["budgets", "list", *log])
        assert "$255.00" in shown.stdout
        assert "apikeyrouter_budgets 1.0" in httpx.get(f"{server.url}/metrics").text

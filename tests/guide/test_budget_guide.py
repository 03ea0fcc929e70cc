"""The guide to budgets: every example runs as it stands, in its order."""

import ast
import inspect
import json
import re
import shlex

import pytest
from loopback import ROOT, RUN_KEY, running_proxy
from typer.testing import CliRunner

from apikeyrouter.adapters.alerts.message import body_of
from apikeyrouter.domain.budgets import Budgets
from apikeyrouter.domain.events import BudgetAlerted, BudgetOpened, BudgetTerms, EventRef, Recorded
from apikeyrouter.interfaces.cli.main import app
from apikeyrouter.interfaces.scripted_provider import Script, ScriptedProvider
from apikeyrouter.settings import RouterSettings

GUIDE = (ROOT / "docs" / "budgets.md").read_text()
AT_US = 1_795_000_000_000_000


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", blocks("python"))
async def test_python(block, tmp_path, monkeypatch, capsys):
    """With top-level awaits, against the scripted provider."""
    monkeypatch.chdir(tmp_path)
    async with ScriptedProvider(Script(accept_any_key=True)) as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.base_url)
        result = eval(  # noqa: S307 - our own guide
            compile(block, "budgets.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), {}
        )
        assert inspect.isawaitable(result)
        await result
    spent, refused = capsys.readouterr().out.splitlines()
    assert "spent" in spent
    assert "0.30" in refused


def test_commands(tmp_path):
    """One after the other on one log; the id is that of the budget that was opened first."""
    log = str(tmp_path / "log.db")

    def run(words):
        result = CliRunner().invoke(app, [*words, "--database", log])
        assert result.exit_code == 0, (words, result.output)
        return result.stdout

    run(["providers", "add", "openai", "--model", "gpt-4o,2.5,10"])
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("apikeyrouter")]
    assert len(lines) >= 8
    for line in lines:
        words = shlex.split(line)[1:]
        if "BUDGET_ID" in words:
            budget_id = json.loads(run(["budgets", "list", "--json"]))[0]["id"]
            words = [budget_id if word == "BUDGET_ID" else word for word in words]
        run(words)


async def test_requests():
    """Each request over HTTP is taken."""
    asked = blocks("http")
    assert asked
    async with running_proxy() as proxy:
        for block in asked:
            line, _, body = block.partition("\n\n")
            method, path = line.split()
            headers = {"x-api-key": RUN_KEY}
            answer = await proxy.client.request(method, path, json=json.loads(body), headers=headers)
            assert answer.is_success, answer.text


def test_the_post_that_is_shown():
    """It has the fields of a real one, and a sentence of the same making."""
    (shown,) = blocks("json")
    terms = BudgetTerms(limit_nano_usd=250_000_000_000, unit="month", enforcement="hard")
    budgets, opened = (
        Budgets(),
        BudgetOpened(
            at_us=AT_US,
            actor="test",
            scope="team",
            scope_id="research",
            name="research, monthly",
            terms=terms,
        ),
    )
    budget_id = json.loads(shown)["budget_id"]
    budgets.open_budget(budget_id, opened, EventRef(f"budget-{budget_id}", 1))
    alert = BudgetAlerted(
        at_us=1_795_451_944_000_123,
        percent=80,
        settled_nano_usd=200_004_000_000,
        limit_nano_usd=250_000_000_000,
        window_ends_us=1_796_083_200_000_000,
    )
    assert json.loads(body_of(Recorded(4711, f"budget-{budget_id}", 3, alert), alert, budgets)) == json.loads(
        shown
    )


def test_the_setting_exists(monkeypatch):
    """The variable that the guide exports is read."""
    (line,) = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("export")]
    name, _, value = line.removeprefix("export ").partition("=")
    monkeypatch.setenv(name, value)
    assert RouterSettings().alert_webhook_url.get_secret_value() == value

"""What docs/compliance.md names exists, and its commands run on a log in which administrators acted."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
from loopback import ROOT
from typer.main import get_command
from typer.testing import CliRunner

from apikeyrouter import ApiKeyRouter, RouterSettings
from apikeyrouter.domain.retention import SIX_MONTHS_US
from apikeyrouter.domain.windows import DAY_US
from apikeyrouter.infrastructure.adapters.openai_adapter import OpenAIAdapter
from apikeyrouter.interfaces.cli.main import app
from apikeyrouter.interfaces.scripted_provider import Script, ThreadedProvider

GUIDE = (ROOT / "docs" / "compliance.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^apikeyrouter ([^#>\n]*)", "\n".join(BLOCKS), re.MULTILINE)
ROWS = [line for line in GUIDE.splitlines() if line.startswith("|")]
NAMED = sorted({named for row in ROWS for named in re.findall(r"`([^`]+)`", row)})
ACTS = ("keys add openai --stdin", "retention set 400d", "budgets create 250 --period monthly --scope global")
MET = {
    "key.registered",
    "retention.set",
    "budget.opened",
    "client.capture_set",
    "payload.read",
    "hold.placed",
}
INTENT = {"model": "swift-1", "client_id": "acme", "user": "user-17"}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Return a sealed log: requests, kept bodies of which one was read, and acts of administrators."""
    path = tmp_path_factory.mktemp("compliance") / "log.db"
    with ThreadedProvider(Script(accept_any_key=True, output_tokens=8)) as provider:
        request_id = asyncio.run(_live(path, provider.base_url))
    acts = [
        *ACTS,
        f"payloads show {request_id} --reason audit",
        "retention hold place --everything --reason audit",
    ]
    for act in acts:
        _succeed(act.split(), path, given="sk-test-second\n")
    return path


async def _live(path, base_url):
    async with ApiKeyRouter(config=RouterSettings(database_url=str(path), synchronous="NORMAL")) as router:
        await router.register_provider("openai", OpenAIAdapter(base_url=base_url))
        await router.register_key("sk-test-first", "openai")
        await router.payloads.capture_on("acme", keep="30d", reason="audit")
        messages = [{"role": "user", "content": "Hello!"}]
        answers = [await router.route({**INTENT, "messages": messages}) for _ in range(5)]
        return answers[0].request_id


def _succeed(words, log, given=None):
    result = CliRunner().invoke(app, [*words, "-d", str(log)], input=given)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def log(original, tmp_path):
    """Return a copy of the log with all that lies beside it."""
    for file in original.parent.iterdir():
        (shutil.copytree if file.is_dir() else shutil.copy2)(file, tmp_path / file.name)
    return tmp_path / original.name


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command(command, log, tmp_path, monkeypatch):
    """Each runs as it stands."""
    monkeypatch.chdir(tmp_path)
    dates = {"2026-03-01": "2020-01-01", "2026-04-01": "2100-01-01"}
    _succeed([dates.get(word, word) for word in command.split()], log)


def test_what_administrators_did_is_reported(log):
    """The report that the guide names for it has every act that was done."""
    report = json.loads(_succeed(["report", "admin", "--last", "90d", "--json"], log))
    assert {row["act"] for row in report["rows"]} >= MET


def test_the_bundle_is_verified_by_its_own_verifier(log, tmp_path, monkeypatch):
    """The line about the bundle works: isolated from this package, with the log's key."""
    monkeypatch.chdir(tmp_path)
    making = next(command for command in COMMANDS if command.startswith("proof bundle"))
    _succeed(making.replace("2026-03-01", "2020-01-01").replace("2026-04-01", "2100-01-01").split(), log)
    zipfile.ZipFile("march.zip").extract("verify.py")
    key = _succeed(["proof", "key"], log).strip()
    line = re.search(r"`python (-I verify\.py march\.zip --key) KEY`", GUIDE)
    checked = subprocess.run([sys.executable, *line[1].split(), key], capture_output=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("named", NAMED)
def test_each_name_in_a_table(named):
    """It is a command with such options, a route, or the default durability; nothing else is in backticks."""
    if named.startswith("/"):
        assert named == "/metrics"
    else:
        assert _is_command(named)


@pytest.mark.parametrize("wrong", ["rotate", "keys", "keys nonsense", "verify --nonsense", "capture --keep"])
def test_what_does_not_exist_is_found(wrong):
    """The check above tells a name that nobody could type."""
    assert not _is_command(wrong)


def _is_command(named):
    known, words = get_command(app), named.split()
    while words and words[0] in getattr(known, "commands", {}):
        known = known.commands[words.pop(0)]
    options = {option for param in known.params for option in param.opts}
    asked = {word for word in words if word.startswith("--")}
    names_one = named == "forecast" or not hasattr(known, "commands")
    return names_one and asked <= options and (not words or words[0].startswith("--"))


def test_six_months_are_as_many_days_as_it_says():
    """The guide tells below how many days a retention is called too short."""
    assert f"{SIX_MONTHS_US // DAY_US} days" in GUIDE


def test_there_are_examples():
    """A guide without examples would pass in silence."""
    assert len(COMMANDS) >= 8
    assert len(NAMED) >= 25

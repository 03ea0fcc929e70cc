"""What docs/retention.md shows is what there is."""

import json
import re
import shlex

import pytest
from loopback import ROOT
from typer.testing import CliRunner

from apikeyrouter.interfaces.cli.main import app
from apikeyrouter.limits import MOST_DROPPED_ROWS, MOST_SEGMENT_EVENTS

GUIDE = (ROOT / "docs" / "retention.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
COMMANDS = [re.findall(r"^apikeyrouter ([^#>\n]*)", block, re.MULTILINE) for block in BLOCKS]


@pytest.fixture
def at_home(whole, tmp_path, monkeypatch, calendar):
    """Stand where the log is, under the name that it has by default."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("APIKEYROUTER_SEAL_INTERVAL_S", "0.05")
    for path in sorted(tmp_path.glob("log.db*")):
        path.rename(path.with_name(path.name.replace("log.db", "apikeyrouter.db")))
    return tmp_path


def run(command: str, known: dict[str, str]) -> str:
    words = [known.get(word, word) for word in shlex.split(command)]
    if any("*" in word for word in words):
        [glob] = [word for word in words if "*" in word]
        at = words.index(glob)
        words[at : at + 1] = [str(path) for path in sorted(known["folder"].glob(glob))]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, (words, result.output)
    return result.stdout


def test_each_command_in_its_order(at_home):
    """All of them run as they stand, one after the other, on one log."""
    policy, holds, restoring = COMMANDS
    known = {"folder": at_home, "REQUEST_ID": (at_home / "ids").read_text().split()[-1]}
    for command in policy:
        run(command.replace("400d", "30d"), known)
    assert len(list((at_home / "apikeyrouter.db.segments").iterdir())) == 1
    known["REQUEST_ID"] = next(
        line["stream"].removeprefix("request-")
        for line in map(json.loads, run("events --json --limit 500", known).splitlines())
        if line["stream"].startswith("request-")
    )
    for command in holds:
        if "HOLD_ID" in command:
            known["HOLD_ID"] = json.loads(run("retention hold list --json", known))[0]["hold_id"]
        run(command, known)
    for command in restoring:
        run(command, known)


def test_numbers_and_words_are_those_of_the_program():
    """Bounds, event names and places."""
    assert f"{MOST_SEGMENT_EVENTS:,} events" in GUIDE
    assert f"{MOST_DROPPED_ROWS} at a time" in GUIDE
    for word in ("segment.dropped", "segment.removed", "apikeyrouter.db.segments", "x-archived-in"):
        assert word in GUIDE


def test_there_are_examples():
    """A guide without examples would pass in silence."""
    assert [len(block) for block in COMMANDS] == [5, 5, 3]

"""The demo as a visitor meets it: a process, its output, and the commands that it prints."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.interfaces.demo.cast import ROLES
from apikeyrouter.interfaces.demo.scoreboard import Scoreboard

PROGRAM = Path(sys.executable).with_name("apikeyrouter")
SHORT = ("--requests", "40", "--seconds", "1", "--port", "0")
DEADLINE_S = 60
COMMAND = re.compile(r"^((?:curl|apikeyrouter) (?:.*\\\n)*.*)$", re.MULTILINE)
"""A line that begins a command, with those that continue it."""


def environment() -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("APIKEYROUTER_", "OPENAI_"))
    }
    return {**kept, "PATH": f"{PROGRAM.parent}:{kept['PATH']}", "COLUMNS": "100"}


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, "demo", *SHORT, *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def test_the_numbers_are_those_of_the_log(tmp_path):
    """`--once --json` prints one document and nothing else; each number is folded from the log it kept."""
    log = tmp_path / "demo.db"
    ran = demo("--once", "--json", "--database", str(log))
    assert (ran.returncode, ran.stderr) == (0, "")
    told = json.loads(ran.stdout)
    scoreboard = Scoreboard()
    scoreboard.take(SqliteReader(log).read(until=told["log"]["position"]))
    totals = scoreboard.totals
    assert told["requests"]["ended"] == totals.ended == 40
    assert told["requests"]["answered"] == totals.answered
    assert told["upstream_failures"]["absorbed"] == totals.absorbed
    assert told["tokens"]["input"] == totals.input_tokens
    assert [key["answered"] for key in told["keys"]] == [row.answered for row in scoreboard.rows.values()]
    assert (told["replay"]["identical"], told["replay"]["decisions"]) == (True, totals.decisions)
    states = {key["label"]: key["state"] for key in told["keys"]}
    assert states["north-dead"] in {"invalid", "available"}
    assert len(states) == len(ROLES)

    again = demo("--once", "--database", str(log))
    assert again.returncode == 1
    assert "exists already" in again.stderr


@contextlib.contextmanager
def staying_up():
    """Run the demo until it has printed its commands; yields the process and all that it printed."""
    with subprocess.Popen(
        [PROGRAM, "demo", *SHORT],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process, printed(process)
        finally:
            process.kill()


def printed(process) -> str:
    text = ""
    while "replay verify -d" not in text:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        text += line
    return text


def pasted(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S602 - as a visitor pastes it
        command,
        shell=True,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.mark.skipif(shutil.which("curl") is None, reason="the commands are for curl")
def test_the_printed_commands_work():
    """Every command that the demo prints works as it stands; Ctrl-C then ends it, and its folder is gone."""
    with staying_up() as (process, text):
        ran = [pasted(command) for command in COMMAND.findall(text)]
        folder = Path(re.search(r"-d (\S+)/demo.db", text)[1])
        assert folder.exists()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
    assert not folder.exists()
    assert [one.returncode for one in ran] == [0] * 6, [one.stderr for one in ran]
    whole, stream, story, trail, events, verified = (one.stdout for one in ran)
    assert "200 OK" in whole
    assert "x-akr-key-id" in whole
    assert stream.rstrip().endswith("data: [DONE]")
    assert "Decision 1" in story
    assert json.loads(trail)["missing_evidence"] == []
    assert "request." in events
    assert "all came out to the same bytes" in verified
    without_a_terminal(text)


def without_a_terminal(text: str) -> None:
    """Piped, it printed decisions with their reasons, the keys and the findings, without escape codes."""
    assert "\x1b" not in text
    for part in ("highest score", "north-main", "upstream failures", "all came out to the same bytes"):
        assert part in text
    assert max(map(len, text.splitlines())) <= 100 + len(tempfile.gettempdir())


def test_ctrl_c_in_the_middle():
    """Interrupted while requests are under way it leaves at once, in silence."""
    with subprocess.Popen(
        [PROGRAM, "demo", "--seconds", "60", "--port", "0"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            while "highest score" not in process.stdout.readline():
                pass
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, "")

"""The commands of docs/replay.md run as they stand, on a log with a history."""

import re
import shlex

import pytest
from loopback import ROOT
from typer.testing import CliRunner

from apikeyrouter.domain.events import AttemptFailed, KeyRegistered, RequestCompleted
from apikeyrouter.interfaces.cli.main import app

GUIDE = (ROOT / "docs" / "replay.md").read_text()
COMMANDS = re.findall(r"^apikeyrouter ([^#\n]*)", GUIDE, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command, log_file, history):
    """Each ends well; ids stand for those of this log."""
    failed = {one.stream for one in history if isinstance(one.event, AttemptFailed)}
    served = {one.stream for one in history if isinstance(one.event, RequestCompleted)}
    key_id = next(one.stream.removeprefix("key-") for one in history if isinstance(one.event, KeyRegistered))
    command = command.replace("REQUEST_ID", min(failed & served).removeprefix("request-"))
    words = shlex.split(command.replace("KEY_ID", key_id))
    result = CliRunner().invoke(app, [*words, "--database", str(log_file)])
    assert result.exit_code == 0, result.output


def test_there_are_commands():
    """A guide without commands would pass in silence."""
    assert len(COMMANDS) >= 12

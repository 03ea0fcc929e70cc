"""The README's Python runs as it stands."""

import ast
import inspect
import re

import pytest
from loopback import ROOT
from typer.main import get_command

from apikeyrouter.interfaces.cli.main import app
from apikeyrouter.interfaces.scripted_provider import Script, ScriptedProvider

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^(?:.*\| )?apikeyrouter ([^#|\n]*)", README, re.MULTILINE)


@pytest.mark.parametrize("block", BLOCKS)
async def test_python_block(block, tmp_path, monkeypatch, capsys):
    """Each block runs with top-level awaits, as in a notebook, against the scripted provider."""
    monkeypatch.chdir(tmp_path)
    async with ScriptedProvider(Script(accept_any_key=True)) as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.base_url)
        code = compile(block, "README", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        names: dict = {}
        result = eval(code, names)  # noqa: S307 - our own README
        if inspect.isawaitable(result):
            await result
    said = capsys.readouterr().out
    if "response" in names:
        assert "Chose key" in said
        assert not names["story"].missing
    if "quota" in names:
        assert "59 of 60" in said
        assert 0.0 <= names["foreseen"].probability <= 1.0


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command):
    """Each command that is shown exists."""
    known, words = get_command(app), command.split()
    while hasattr(known, "commands") and words and words[0] in known.commands:
        known = known.commands[words.pop(0)]
    assert not hasattr(known, "commands") or known.name == "forecast", command


def test_there_are_examples():
    """A README without examples would pass in silence."""
    assert len(BLOCKS) >= 3
    assert len(COMMANDS) >= 10

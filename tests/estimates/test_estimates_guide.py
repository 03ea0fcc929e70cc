"""What docs/estimates.md shows runs as it stands."""

import ast
import inspect
import re
import shlex

import pytest
from command_line import Commands
from loopback import ROOT

from apikeyrouter.application.input_allowances import (
    LARGEST_CONTEXT_TOKENS,
    PICTURE_TOKENS,
    TEMPLATE_TOKENS,
    TOOLS_TOKENS,
)
from apikeyrouter.domain.expectations import HALF_LIFE_US, PRIOR_OUTPUT_TOKENS, PRIOR_REQUESTS
from apikeyrouter.domain.models.cost_estimate import CandidateEstimate
from apikeyrouter.interfaces.scripted_provider import Script, ScriptedProvider

GUIDE = (ROOT / "docs" / "estimates.md").read_text()
[SNIPPET] = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^apikeyrouter ([^#\n]*)", GUIDE, re.MULTILINE)


async def test_the_snippet(tmp_path, monkeypatch, capsys):
    """It runs with top-level awaits, as in a notebook, against the scripted provider."""
    monkeypatch.chdir(tmp_path)
    async with ScriptedProvider(Script(accept_any_key=True)) as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.base_url)
        code = compile(SNIPPET, "estimates.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        names: dict = {}
        result = eval(code, names)  # noqa: S307 - our own guide
        if inspect.isawaitable(result):
            await result
    said = capsys.readouterr().out
    assert "at most, by openai" in said
    assert "openai gpt-4o" in said
    assert names["told"].above_bound == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command(command, tmp_path, monkeypatch):
    """It runs, on a log without anything in it as well."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompt.txt").write_text("Hello!")
    commands = Commands(tmp_path / "log.db")
    commands.data("providers", "add", "openai")
    result = commands.run(*shlex.split(command))
    assert result.exit_code == 0, result.output


def test_the_numbers():
    """Every figure and every field that is named is the one that counts."""
    for figure in (TEMPLATE_TOKENS, TOOLS_TOKENS, PICTURE_TOKENS, LARGEST_CONTEXT_TOKENS):
        assert f"{figure:,}" in GUIDE
    assert f"{PRIOR_OUTPUT_TOKENS:.0f} tokens of output" in GUIDE
    assert (HALF_LIFE_US, PRIOR_REQUESTS) == (6 * 3_600_000_000, 4.0)
    told = set(CandidateEstimate.model_fields) - {"provider_id", "model", "keys"}
    assert {name for name in told if f"`{name}`" not in GUIDE} == set()
    assert len(COMMANDS) >= 3

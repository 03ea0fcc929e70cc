"""The README's Python runs as it stands."""

import ast
import inspect
import re

import pytest
from loopback import ROOT

from apikeyrouter.interfaces.scripted_provider import Script, ScriptedProvider

BLOCKS = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


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
    if "response" in names:
        assert "Chose key" in capsys.readouterr().out
        assert not names["story"].missing


def test_there_are_blocks():
    """A README without examples would pass in silence."""
    assert len(BLOCKS) >= 2

"""What docs/payloads.md shows runs as it stands."""

import ast
import asyncio
import inspect
import json
import re
import shlex

import pytest
from command_line import Commands
from loopback import ROOT, RUN_KEY, running_proxy
from payload_world import a_world

from apikeyrouter.adapters.payloads.files import payload_keys_path_beside, payloads_path_beside
from apikeyrouter.application.payloads.checking import PayloadTrouble
from apikeyrouter.domain.payloads import Loss
from apikeyrouter.interfaces.scripted_provider import Script, ScriptedProvider
from apikeyrouter.settings import RouterSettings

GUIDE = (ROOT / "docs" / "payloads.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def test_commands(tmp_path):
    """One after the other on one log; the ids are those that there are."""

    async def serve():
        async with a_world(tmp_path) as world:
            answer = await world.ask(user="user-17")
            await world.stored()
            return answer.headers["x-request-id"]

    commands = Commands(tmp_path / "router.db")
    known = {"REQUEST_ID": asyncio.run(serve())}
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("apikeyrouter")]
    assert len(lines) >= 10
    for line in lines:
        words = [known.get(word, word) for word in shlex.split(line, comments=True)[1:]]
        result = commands.run(*words)
        assert result.exit_code == 0, (words, result.output)
        if words[1] == "pseudonym":
            known["PSEUDONYM"] = result.stdout.strip()
        if words[1] == "erase":
            known["ERASURE_ID"] = re.search(r"Erasure (\w+)", result.stdout)[1]


@pytest.mark.parametrize("block", blocks("python"))
async def test_python(block, tmp_path, monkeypatch, capsys):
    """With top-level awaits, against the scripted provider."""
    monkeypatch.chdir(tmp_path)
    async with ScriptedProvider(Script(accept_any_key=True)) as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.base_url)
        code = compile(block, "payloads.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, {})  # noqa: S307 - our own guide
        assert inspect.isawaitable(result)
        await result
    asked, erased = capsys.readouterr().out.splitlines()
    assert "Hello!" in asked
    assert erased == "1 erased: True"


async def test_requests():
    """Each request over HTTP is taken, and each address that is named exists."""
    async with running_proxy() as proxy:
        for block in blocks("http"):
            line, _, body = block.partition("\n\n")
            method, path = line.split()
            headers = {"x-api-key": RUN_KEY}
            answer = await proxy.client.request(method, path, json=json.loads(body), headers=headers)
            assert answer.is_success, answer.text
        paths = (await proxy.client.get("/openapi.json")).json()["paths"]
    named = re.findall(r"`(GET|POST) (/api/v1/payloads[^`]*)`", GUIDE)
    assert len(named) == 5
    for method, path in named:
        known = path.replace("REQUEST_ID", "{request_id}").replace("ERASURE_ID", "{erasure_id}")
        assert method.lower() in paths[known]


def test_everything_is_named(tmp_path):
    """Each reason of a loss, each finding, each file and the setting."""
    for word in (*Loss, *PayloadTrouble):
        assert f"`{word}`" in GUIDE
    log = tmp_path / "apikeyrouter.db"
    for path in (payloads_path_beside(log), payload_keys_path_beside(log)):
        assert f"`{path.name}`" in GUIDE
    assert "`APIKEYROUTER_CAPTURE_BYTES`" in GUIDE
    assert str(RouterSettings.model_fields["capture_bytes"].default) in GUIDE

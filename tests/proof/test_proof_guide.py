"""What docs/proof.md shows is what there is."""

import re

import pytest
from loopback import ROOT
from sealed_logs import all_rows
from typer.main import get_command
from typer.testing import CliRunner

from apikeyrouter.adapters.proof.opening import signing_key_path
from apikeyrouter.application.proof.findings import Trouble
from apikeyrouter.interfaces.cli.main import app
from apikeyrouter.settings import RouterSettings

GUIDE = (ROOT / "docs" / "proof.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^apikeyrouter ([^#>\n]*)", "\n".join(BLOCKS), re.MULTILINE)
ELSEWHERE = "witness"


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command(command, log, tmp_path, monkeypatch):
    """Each runs as it stands on a sealed log; those of a witness need a witness and only have to exist."""
    monkeypatch.chdir(tmp_path)
    words = command.split()
    if words[0] == ELSEWHERE:
        assert words[1] in get_command(app).commands[ELSEWHERE].commands
        return
    kept = CliRunner().invoke(app, ["proof", "checkpoint", "-d", str(log)])
    (tmp_path / "kept.checkpoint").write_text(kept.stdout)
    request_id = next(row.stream for row in all_rows(log) if row.stream.startswith("request-"))
    known = {"REQUEST_ID": request_id, "4711": "200", "20000": "100", "5000": "150"}
    known |= {"2026-03-01": "2020-01-01", "2026-04-01": "2100-01-01"}
    result = CliRunner().invoke(app, [*(known.get(word, word) for word in words), "-d", str(log)])
    assert result.exit_code == 0, result.output


def test_everything_is_named(log):
    """Every kind of finding, every setting and every file is explained."""
    for trouble in Trouble:
        assert f"`{trouble}`" in GUIDE
    for name in RouterSettings.model_fields:
        assert not name.startswith(("seal_", "witness_")) or f"`APIKEYROUTER_{name.upper()}`" in GUIDE
    for file in log.with_name("log.db.seals").iterdir():
        assert file.name.endswith(".lock") or file.name in GUIDE
    assert signing_key_path(log).suffix in GUIDE


def test_there_are_examples():
    """A guide without examples would pass in silence."""
    assert len(COMMANDS) >= 10

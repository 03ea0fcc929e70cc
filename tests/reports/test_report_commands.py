"""`apikeyrouter report`: reports on the command line, beside a server or without one."""

import json

import pytest
from typer.testing import CliRunner

from apikeyrouter.adapters.reports.catalogue import REPORTS
from apikeyrouter.application.reporting.forecasts import FORECAST
from apikeyrouter.interfaces.cli.main import app
from apikeyrouter.interfaces.cli.report import COMMANDS
from apikeyrouter.interfaces.scripted_provider import ScriptedProvider


@pytest.fixture
async def log(tmp_path):
    """A log with two keys and three requests, one of them refused."""
    from loopback import QUESTION, running_proxy, scripted

    from apikeyrouter.settings import RouterSettings

    path = tmp_path / "log.db"
    settings = RouterSettings(database_url=str(path))
    async with ScriptedProvider(scripted("a", "b")) as provider, running_proxy(settings) as proxy:
        await proxy.provide(provider, "a", "b")
        for _ in range(2):
            assert (await proxy.ask()).status_code == 200
        for key_id in proxy.key_ids.values():
            await proxy.node.manage.disable_key(key_id, actor="ann")
        assert (await proxy.client.post("/v1/chat/completions", json=QUESTION)).status_code == 503
    return path


def run(log, *arguments):
    return CliRunner().invoke(app, ["report", *arguments, "--database", str(log)])


def data(log, *arguments):
    result = run(log, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_every_report_is_a_command():
    """The list of commands is written down, since a command line answers before it imports reports."""
    assert set(COMMANDS) == {*REPORTS, FORECAST}


@pytest.mark.parametrize("report", COMMANDS)
def test_each_answers(log, report):
    """As a table and as a document."""
    shown = run(log, report)
    assert shown.exit_code == 0, shown.output
    assert data(log, report)["report"] == report


def test_what_was_spent_and_the_events_behind_it(log):
    """The number, and the settlements that it was summed from, by their places in the log."""
    told = data(log, "spend", "--by", "provider", "--last", "1d")
    assert told["total"]["calls"] == 2
    traced = data(log, "trace", "spend", "--where", "provider=openai")
    assert [event["name"].rpartition(".")[0] for event in traced["events"]] == ["request.completed"] * 2
    assert traced["count"] == told["rows"][0]["events"]
    assert "request.completed" in run(log, "trace", "spend").stdout


def test_who_changed_what(log):
    """Administrators' acts are there by name; what the router does by itself is not among them."""
    acts = data(log, "admin", "--where", "actor=ann", "--by", "act,subject")
    assert sorted(row["act"] for row in acts["rows"]) == ["key.state_changed"] * 2


def test_refusals_with_their_reasons(log):
    """The refused request, and the rule that kept both keys out."""
    told = data(log, "refusals", "--by", "reason,rule")
    assert [(row["rule"], row["refusals"]) for row in told["rows"]] == [("key_disabled", 1)]


def test_reports_keep_up_by_themselves(log):
    """A report needs no step before it; making read models anew changes nothing."""
    first = data(log, "usage")
    assert (log.parent / "log.db.reports.db").exists()
    rebuilt = data(log, "rebuild", "--check")
    assert rebuilt["identical"]
    assert data(log, "usage") == first
    status = data(log, "status", "--hash")
    assert {one["read_model"]: one["sha256"] for one in status} == rebuilt["sha256"]


def test_changed_read_models_are_noticed(log):
    """A row that somebody changed is not in what is made anew, and the check fails."""
    import sqlite3

    run(log, "usage")
    with sqlite3.connect(log.parent / "log.db.reports.db") as connection:
        connection.execute("UPDATE attempts SET cost_nano_usd = 1")
    result = run(log, "rebuild", "--check")
    assert result.exit_code == 1
    assert "NO" in result.stdout
    assert data(log, "rebuild", "--check")["identical"]


def test_other_formats_and_files(log, tmp_path):
    """CSV to standard output or into a file; what cannot be is a mistake in typing."""
    assert run(log, "spend", "--format", "csv").stdout.startswith("client,team,model,provider,calls")
    target = tmp_path / "spend.jsonl"
    assert run(log, "spend", "--format", "jsonl", "--output", str(target)).exit_code == 0
    assert json.loads(target.read_text().splitlines()[0])["calls"] == 2
    for wrong in (("--format", "xml"), ("--output", str(target))):
        assert run(log, "spend", *wrong).exit_code == 2


def test_a_read_model_file_elsewhere(log, tmp_path):
    """The file of the read models may lie where there is room for it."""
    assert run(log, "spend", "--reports", str(tmp_path / "elsewhere.db")).exit_code == 0
    assert (tmp_path / "elsewhere.db").exists()
    assert not (log.parent / "log.db.reports.db").exists()


def test_sql_reads_and_nothing_else(log, tmp_path):
    """Whatever would write, or open another file, is refused by SQLite itself."""
    assert data(log, "sql", "SELECT count(*) AS n FROM spend") == [{"n": 2}]
    hostile = (
        "DELETE FROM attempts",
        "DROP TABLE attempts",
        "PRAGMA journal_mode = off",
        f"ATTACH '{tmp_path / 'other.db'}' AS other",
        f"VACUUM INTO '{tmp_path / 'other.db'}'",
        "CREATE TABLE mine (id)",
    )
    for query in hostile:
        refused = run(log, "sql", query)
        assert refused.exit_code == 1, query
        assert "cannot be run" in refused.stderr
    assert not (tmp_path / "other.db").exists()
    assert data(log, "sql", "SELECT count(*) AS n FROM spend") == [{"n": 2}]


def test_refusals_are_told_in_words(log):
    """A wrong column, period or report ends as a sentence."""
    for arguments in (("spend", "--by", "colour"), ("spend", "--from", "soon"), ("trace", "weather")):
        refused = run(log, *arguments)
        assert refused.exit_code == 1
        assert refused.stderr.startswith("apikeyrouter: ")
        assert "Traceback" not in refused.stderr

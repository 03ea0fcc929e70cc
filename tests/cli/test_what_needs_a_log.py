"""Commands about what a log has begin none of their own; what cannot be meant is told with what to do."""

import asyncio
import sqlite3

import httpx
import pytest
from typer.testing import CliRunner

from apikeyrouter import ApiKeyRouter, RouterSettings
from apikeyrouter.domain.models.system_error import SystemError as RouterError
from apikeyrouter.interfaces.cli.main import app
from apikeyrouter.interfaces.cli.management import Management

ON_WHAT_THERE_IS = [
    "payloads list",
    "payloads show REQUEST_ID",
    "payloads pseudonym --client acme",
    "payloads erase --client acme --yes",
    "payloads receipt",
    "payloads expire",
    "payloads verify",
    "payloads capture list",
    "retention status",
    "retention apply",
    "retention apply --dry-run",
    "retention hold place --client acme --reason audit",
    "retention hold release HOLD_ID --reason over",
    "retention hold list",
    "replay verify --workers 2",
    "report leases",
    "report payloads",
    "report segments",
    "verify --archive .",
]
NONSENSE = [
    (["payloads", "receipt", ""], "it is empty"),
    (["payloads", "show", ""], "it is empty"),
    (["payloads", "list", "--request", ""], "it is empty"),
    (["payloads", "pseudonym", "--client", ""], "1 to 128 printable characters"),
    (["payloads", "pseudonym", "--client", "acme", "--subject", ""], "nobody is named"),
    (["payloads", "erase", "--client", "acme", "--subject", "-", "--yes"], "nobody is named"),
    (["payloads", "show", "nothing"], "apikeyrouter payloads list"),
    (["payloads", "receipt", "nothing"], "apikeyrouter payloads receipt"),
    (["retention", "hold", "release", "nothing", "--reason", "over"], "apikeyrouter retention hold list"),
    (["retention", "hold", "place", "--subject", "ann", "--reason", "x"], "apikeyrouter payloads pseudonym"),
    (["retention", "restore", __file__, "--into", "full.db"], "apikeyrouter retention status"),
    (["replay", "verify", "--from", "9", "--to", "3"], "nothing lies between 9 and 3"),
]


def _run(*words, log, stdin=""):
    result = CliRunner().invoke(app, [*words, "-d", str(log)], input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def _on_one_line(text):
    return " ".join(text.replace("│", " ").split())


@pytest.fixture
def log(tmp_path):
    """Return a log that holds nothing but its beginning."""
    path = tmp_path / "log.db"

    async def begin():
        async with ApiKeyRouter(
            config=RouterSettings(database_url=str(path), synchronous="NORMAL")
        ) as router:
            await router.get_state_summary()

    asyncio.run(begin())
    return path


class TestWithoutALog:
    @pytest.mark.parametrize("command", ON_WHAT_THERE_IS)
    def test_nothing_is_begun(self, command, tmp_path, monkeypatch):
        """In the wrong folder a pseudonym would be of a new key, and a hold would hold nothing."""
        monkeypatch.chdir(tmp_path)
        refused = _run(*command.split(), log=tmp_path / "log.db")
        assert refused.exit_code == 1
        assert "start one with `apikeyrouter serve`" in refused.output
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("command", ON_WHAT_THERE_IS)
    def test_a_folder_is_no_log(self, command, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        refused = _run(*command.split(), log=tmp_path)
        assert refused.exit_code == 1
        assert "is a folder" in refused.output

    def test_a_log_is_begun_in_folders_that_exist(self, tmp_path):
        """What may come before the first start says which folder it lacks."""
        missing = _run("retention", "set", "400d", log=tmp_path / "none" / "log.db")
        assert missing.exit_code == 1
        assert "Its folder must be there" in missing.output
        assert _run("retention", "set", "400d", log=tmp_path / "log.db").exit_code == 0


class TestNonsense:
    @pytest.mark.parametrize(("words", "said"), NONSENSE)
    def test_is_refused_with_what_to_do(self, words, said, log):
        refused = _run(*words, log=log)
        assert refused.exit_code in {1, 2}
        assert said in _on_one_line(refused.output)

    def test_nothing_of_it_is_in_the_log(self, log):
        """A person's own name in place of the pseudonym least of all."""
        for words, _ in NONSENSE:
            _run(*words, log=log)
        with sqlite3.connect(log) as connection:
            topics = {topic for (topic,) in connection.execute("SELECT topic FROM stored_events")}
        connection.close()
        assert not any(topic.startswith(("hold.", "payload.", "erasure.")) for topic in topics), topics


class TestAnswersThatAreNone:
    async def test_a_server_that_leads_elsewhere_is_an_error(self):
        """A redirect carries no answer: it is told as a refusal, not as a traceback."""
        transport = httpx.MockTransport(lambda _: httpx.Response(307, headers={"location": "/elsewhere"}))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            with pytest.raises(RouterError, match="answered 307"):
                await Management(client).ask("GET", "/payloads/erasures/")


class TestDoctor:
    def test_what_cannot_be_looked_at_is_named(self, tmp_path):
        """Once, in the words of the other lines, with what to do."""
        (tmp_path / "log.db").write_text("this is no database, but a text of some length" * 100)
        for path, advice in ((tmp_path / "log.db", "name another file"), (tmp_path, "name a file in it")):
            found = _run("doctor", log=path)
            assert found.exit_code == 1
            assert "fail  log " in found.output
            assert " ".join(found.output.split()).count(advice) == 1


class TestTables:
    def test_no_number_is_cut_off(self, log, capsys):
        """A line may be longer than the screen: ids and sizes are there whole."""
        from apikeyrouter.interfaces.cli.payload_tables import show_list

        parts = [{"part": part, "plain_bytes": 1234567, "truncated": True} for part in ("request", "answer")]
        kept = {
            "request_id": "r" * 32,
            "client_id": "acme",
            "subject": "5" * 32,
            "taken_at_us": 0,
            "parts": parts,
        }
        show_list([kept])
        line = capsys.readouterr().out.splitlines()[1]
        assert line.split()[0::2] == ["r" * 32, "5" * 32, "00:00:00", "1,234,567+"], line

    def test_no_erasure_is_said(self, log):
        assert "Nothing was erased." in _run("payloads", "receipt", log=log).stdout

"""Questions to a log at rest: events, explain, replay, doctor."""

import asyncio
import json
import shutil
import sqlite3

import pytest

from apikeyrouter import ApiKeyRouter, RouterSettings
from apikeyrouter.domain.models.system_error import SystemError as RouterError
from apikeyrouter.infrastructure.adapters.openai_adapter import OpenAIAdapter
from apikeyrouter.interfaces.cli import checkup
from apikeyrouter.interfaces.scripted_provider import KeyScript, Script, ThreadedProvider

INTENT = {"model": "swift-1", "messages": [{"role": "user", "content": "Hello!"}]}
REQUESTS = 6


@pytest.fixture(scope="module")
def furnished(tmp_path_factory):
    """Make a log in which one key is rejected and the other serves; return its path and the request ids."""
    log = tmp_path_factory.mktemp("log") / "log.db"
    script = Script(keys={"good": KeyScript(key="sk-test-good")}, output_tokens=8)
    with ThreadedProvider(script) as provider:
        request_ids = asyncio.run(_routed(str(log), provider.base_url))
    return log, request_ids


async def _routed(log: str, base_url: str) -> list[str]:
    async with ApiKeyRouter(config=RouterSettings(database_url=log, synchronous="NORMAL")) as router:
        await router.register_provider("openai", OpenAIAdapter(base_url=base_url))
        await router.register_key("sk-test-dead", "openai", {"label": "dead"})
        await router.register_key("sk-test-good", "openai", {"label": "good"})
        answers = [await router.route(INTENT, "reliability") for _ in range(REQUESTS)]
        answers.append(await _refused(router))
    return [answer if isinstance(answer, str) else answer.request_id for answer in answers]


async def _refused(router: ApiKeyRouter) -> str:
    try:
        await router.route(INTENT, {"constraints": {"providers": ["nobody"]}})
    except RouterError as error:
        return str(error.request_id)
    raise AssertionError("nobody served it")


@pytest.fixture
def on_log(commands, furnished):
    commands.log, commands.request_ids = furnished
    return commands


class TestEvents:
    def test_json_lines(self, on_log):
        """One JSON object a line, positions without a gap, the whole event in each."""
        lines = on_log.run("events", "--json", "--limit", "1000").stdout.splitlines()
        told = [json.loads(line) for line in lines]
        assert [event["position"] for event in told] == list(range(1, len(told) + 1))
        assert told[0]["name"] == "node.started.v1"
        assert told[-1]["name"] == "node.stopped.v1"
        assert {"position", "stream", "version", "name", "data"} == set(told[0])

    def test_a_window(self, on_log):
        """--after and --limit choose a part of the log."""
        lines = on_log.run("events", "--json", "--after", "2", "--limit", "3").stdout.splitlines()
        assert [json.loads(line)["position"] for line in lines] == [3, 4, 5]

    def test_one_stream(self, on_log):
        """--stream shows one story: its versions count from one."""
        stream = f"request-{on_log.request_ids[-2]}"
        told = [
            json.loads(line)
            for line in on_log.run("events", "--json", "--stream", stream).stdout.splitlines()
        ]
        assert [event["version"] for event in told] == [1, 2]
        assert {event["stream"] for event in told} == {stream}

    def test_for_people(self, on_log):
        """The table says of each event where it stands and what it says."""
        shown = on_log.run("events", "--limit", "4").stdout
        assert "provider.registered.v1" in shown
        assert "base_url=http://127.0.0.1" in shown


class TestExplain:
    def test_a_served_request(self, on_log):
        """The story tells the choice, the scores, what it cost, and the events that speak for it."""
        shown = on_log.run("explain", on_log.request_ids[-2]).stdout
        assert "Chose key good of openai" in shown
        assert "reliability" in shown
        assert "→  good" in shown
        assert "no price" in shown
        assert "Evidence" in shown
        assert "key.registered.v1" in shown

    def test_a_failed_attempt(self, on_log):
        """Among the requests one met the rejected key first: the story tells the failure and what it did."""
        stories = [on_log.run("explain", request_id).stdout for request_id in on_log.request_ids[:-1]]
        met = [story for story in stories if "Attempt 1 failed at dead" in story]
        assert len(met) == 1
        assert "key_rejected, status 401" in met[0]
        assert "Decision 2" in met[0]

    def test_a_refused_request(self, on_log):
        """A refusal is explained like a choice: which rule kept each key out."""
        shown = on_log.run("explain", on_log.request_ids[-1]).stdout
        assert "Refused" in shown
        assert "good excluded by" in shown

    def test_the_name_of_the_stream_will_do(self, on_log):
        """A stream's name, as `events` shows it, is taken for its request."""
        told = on_log.data("explain", f"request-{on_log.request_ids[0]}")
        assert told["request_id"] == on_log.request_ids[0]
        assert told["missing_evidence"] == []

    def test_an_unknown_request(self, on_log):
        """An id that the log does not have is refused in words."""
        result = on_log.run("explain", "nothing")
        assert result.exit_code == 1
        assert "nothing" in result.stderr


class TestReplay:
    def test_an_honest_log(self, on_log):
        """Every decision comes out to the same bytes."""
        told = on_log.data("replay", "verify")
        assert told["identical"]
        assert told["decisions"] >= REQUESTS
        assert "all came out to the same bytes" in on_log.run("replay", "verify").stdout

    def test_a_changed_decision_is_found(self, on_log, tmp_path):
        """A decision whose score was changed in the file is located by position and field; exit code 1."""
        changed = tmp_path / "changed.db"
        changed.write_bytes(on_log.log.read_bytes())
        position = _change_a_score(changed)
        on_log.log = changed
        result = on_log.run("replay", "verify", "--json")
        told = json.loads(result.stdout)
        assert result.exit_code == 1
        assert [(one["position"], one["field"]) for one in told["differences"]] == [
            (position, "chosen.total")
        ]
        for_people = on_log.run("replay", "verify")
        assert for_people.exit_code == 1
        assert "1 came out otherwise" in for_people.stdout
        assert "chosen.total" in for_people.stdout


def _change_a_score(log) -> int:
    connection = sqlite3.connect(log)
    select = (
        "SELECT notification_id, state FROM stored_events WHERE topic = 'request.decided.v3' ORDER BY 1 DESC"
    )
    position, state = connection.execute(select).fetchone()
    event = json.loads(state)
    event["chosen"]["total"] += 0.25
    body = json.dumps(event, separators=(",", ":")).encode()
    with connection:
        connection.execute("UPDATE stored_events SET state = ? WHERE notification_id = ?", (body, position))
    connection.close()
    return position


class TestDoctor:
    def told(self, commands, *arguments, **environment) -> dict[str, dict]:
        result = commands.run("doctor", "--json", *arguments, **environment)
        findings = {finding["what"]: finding for finding in json.loads(result.stdout)}
        failed = any(finding["status"] == "fail" for finding in findings.values())
        assert result.exit_code == int(failed)
        return findings

    def test_a_sound_installation(self, on_log):
        """Nothing fails on a log that was closed in good order."""
        findings = self.told(on_log)
        assert {finding["status"] for finding in findings.values()} <= {"ok", "warn"}
        assert "no gap" in findings["log readable"]["detail"]
        assert "mode 600" in findings["master key"]["detail"]

    def test_a_master_key_open_to_others(self, on_log, tmp_path):
        """A key file that others can read is a failure with the way out."""
        _copy(on_log, tmp_path)
        on_log.log.with_name("log.db.key").chmod(0o644)
        assert "chmod 600" in self.told(on_log)["master key"]["detail"]

    def test_a_foreign_master_key(self, on_log, tmp_path):
        """A vault that does not open with the key at hand is a failure."""
        _copy(on_log, tmp_path)
        on_log.log.with_name("log.db.key").write_text("A" * 43 + "=")
        assert self.told(on_log)["vault"]["status"] == "fail"

    def test_a_hole_in_the_log(self, on_log, tmp_path):
        """A missing event is found by its position."""
        _copy(on_log, tmp_path)
        connection = sqlite3.connect(on_log.log)
        with connection:
            connection.execute("DELETE FROM stored_events WHERE notification_id = 3")
        connection.close()
        assert "position 3 is missing" in self.told(on_log)["log positions"]["detail"]

    def test_an_event_of_an_unknown_kind(self, on_log, tmp_path):
        """An event that nobody can read is a failure, since it stops every fold."""
        _copy(on_log, tmp_path)
        connection = sqlite3.connect(on_log.log)
        with connection:
            connection.execute("UPDATE stored_events SET topic = 'os.system' WHERE notification_id = 3")
        connection.close()
        assert "os.system" in self.told(on_log)["log"]["detail"]

    def test_exposure(self, on_log):
        """Listening to the world without a management key fails."""
        findings = self.told(on_log, APIKEYROUTER_HOST="::")
        assert findings["exposure"]["status"] == "fail"

    def test_a_misspelt_variable(self, on_log):
        """A variable that nobody knows is named, and nothing else is judged by half-read settings."""
        findings = self.told(on_log, APIKEYROUTER_PROT="80")
        assert "APIKEYROUTER_PROT" in findings["settings"]["detail"]

    def test_secrets_are_not_shown(self, on_log):
        """Of secrets it says whether they are set, and no more."""
        shown = on_log.run("doctor", "--all", APIKEYROUTER_MANAGEMENT_API_KEY="canary-of-management")
        assert "APIKEYROUTER_MANAGEMENT_API_KEY" in shown.stdout
        assert "canary" not in shown.stdout

    def test_an_old_sqlite(self, on_log, monkeypatch):
        """What is known to be wrong with the SQLite at hand is a warning, not a failure."""
        monkeypatch.setattr(checkup, "sqlite_warnings", lambda: ("SQLite 3.1 is old",))
        assert self.told(on_log)["sqlite"] == {
            "status": "warn",
            "what": "sqlite",
            "detail": "SQLite 3.1 is old",
        }


def _copy(commands, folder) -> None:
    """Work on a copy of the log, its vault, its keys and its seals."""
    for path in commands.log.parent.iterdir():
        copy = folder / path.name
        if path.is_dir():
            shutil.copytree(path, copy)
            continue
        copy.write_bytes(path.read_bytes())
        copy.chmod(0o600)
    commands.log = folder / commands.log.name


class TestNoLog:
    @pytest.mark.parametrize(
        "command",
        [("keys", "list"), ("providers", "list"), ("events",), ("explain", "x"), ("replay", "verify")],
    )
    def test_reading_makes_none(self, commands, command):
        """Where there is no log, reading says where it looked and makes no file."""
        result = commands.run(*command)
        assert result.exit_code == 1
        assert str(commands.log) in result.stderr
        assert list(commands.log.parent.iterdir()) == []

    def test_a_file_that_is_no_log(self, commands):
        """Another program's file is refused, not read."""
        commands.log.write_text("no database")
        result = commands.run("events")
        assert result.exit_code == 1
        assert str(commands.log) in result.stderr

    def test_a_log_in_memory(self, commands):
        """A log in another process's memory cannot be read, and the message says so."""
        commands.log = ":memory:"
        result = commands.run("events")
        assert result.exit_code == 1
        assert "memory" in result.stderr

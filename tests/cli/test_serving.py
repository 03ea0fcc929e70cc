"""A real server, and other commands beside it as processes of their own."""

import json
import signal
import socket
import stat
import threading

import httpx
import pytest
from command_line import PROGRAM, until

from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.domain.events import NodeStopped, RequestCompleted
from apikeyrouter.interfaces.cli.run_file import run_path
from apikeyrouter.interfaces.scripted_provider import KeyScript, Script, ThreadedProvider

GOOD, DEAD = "sk-canary-good-51b4c7a0", "sk-canary-dead-8f2e6d13"
QUESTION = {"model": "swift-1", "messages": [{"role": "user", "content": "Hello!"}]}


@pytest.fixture
def provider():
    script = Script(keys={"good": KeyScript(key=GOOD, latency_ms=20)}, output_tokens=8)
    with ThreadedProvider(script) as running:
        yield running


def furnish(processes, server, provider, *materials: str) -> None:
    """Register a provider and keys over HTTP, where the command line's own way is not the question."""
    offered = {"provider_id": "openai", "base_url": provider.base_url, "models": ["swift-1"]}
    headers = {"x-api-key": run_key(processes)}
    with httpx.Client(base_url=f"{server.url}/api/v1", headers=headers, trust_env=False) as api:
        api.post("/providers", json=offered).raise_for_status()
        for material in materials:
            api.post("/keys", json={"provider_id": "openai", "key_material": material}).raise_for_status()


def run_key(processes) -> str:
    return json.loads(run_path(processes.log).read_text())["management_key"]


def ask(url: str, **options) -> httpx.Response:
    return httpx.post(f"{url}/v1/chat/completions", json=QUESTION, timeout=20, trust_env=False, **options)


def test_from_an_empty_folder_to_a_verified_log(processes, provider):
    """Serve, register, ask, list, explain beside the running server; verify when it is gone, elsewhere."""
    with processes.serving() as server:
        model = ("--model", "swift-1,1,2")
        added = processes.run("providers", "add", "openai", "--base-url", provider.base_url, *model)
        assert added.returncode == 0, added.stderr
        key = json.loads(processes.run("keys", "add", "openai", "--stdin", "--json", stdin=GOOD).stdout)
        answers = [ask(server.url) for _ in range(4)]
        assert {answer.status_code for answer in answers} == {200}
        request_id = answers[0].headers["x-request-id"]

        [listed] = json.loads(processes.run("keys", "list", "--json").stdout)
        assert (listed["id"], listed["state"]) == (key["id"], "available")
        told = json.loads(processes.run("explain", request_id, "--json").stdout)
        over_http = httpx.get(
            f"{server.url}/api/v1/requests/{request_id}", headers={"x-api-key": run_key(processes)}
        )
        assert told == over_http.json()
        assert server.stop() == (0, "")
    assert not run_path(processes.log).exists()

    elsewhere = processes.run(
        "replay", "verify", "--json", PYTHONHASHSEED="4711", TZ="Asia/Kathmandu", LC_ALL="C"
    )
    verified = json.loads(elsewhere.stdout)
    assert verified["identical"]
    assert verified["decisions"] >= len(answers)


def test_no_key_anywhere(processes, provider):
    """Material given on standard input, and the key of the run, are in no output, log line or file.

    The one file that holds the key of the run is for the owner alone, and nobody manages without it.
    """
    with processes.serving("--log-level", "debug") as server:
        said = [
            processes.run("keys", "add", "openai", "--stdin", stdin=DEAD)
        ]  # refused: no such provider yet
        furnish(processes, server, provider)
        said += [processes.run("keys", "add", "openai", "--stdin", stdin=GOOD)]
        ask(server.url)
        said += [processes.run(*command) for command in (("events",), ("doctor", "--all"))]
        run_file, run_secret = run_path(processes.log), run_key(processes)
        assert stat.S_IMODE(run_file.stat().st_mode) == 0o600
        stranger = httpx.get(f"{server.url}/api/v1/keys", headers={"x-api-key": "guessed"})
        assert stranger.status_code == 401
        files = [path for path in processes.folder.rglob("*") if path.is_file() and path != run_file]
        written = [path.read_bytes() for path in files]
        _, errors = server.stop()
    texts = [errors, json.dumps(server.said), *(one.stdout + one.stderr for one in said)]
    texts += [content.decode("latin-1") for content in written]
    for secret in (GOOD, DEAD, run_secret):
        assert not [text for text in texts if secret[3:20] in text]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_requests_finish(processes, provider, number):
    """A request under way gets its answer, the log says that the node stopped, and the exit code is 0."""
    provider.change_key("good", hold=True)
    answers: list[httpx.Response] = []
    with processes.serving() as server:
        furnish(processes, server, provider, GOOD)
        client = threading.Thread(target=lambda: answers.append(ask(server.url)))
        client.start()
        until(lambda: provider.ledger().keys["good"].held == 1, "the call is held")
        server.process.send_signal(number)
        until(lambda: refuses_connections(server.url), "the door is closed")
        provider.change_key("good", hold=False)
        client.join()
        assert server.process.wait(timeout=20) == 0
    assert answers[0].status_code == 200
    ends = [type(recorded.event) for recorded in SqliteReader(processes.log).read()][-2:]
    assert ends == [RequestCompleted, NodeStopped]


def refuses_connections(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return True
    return False


class TestRefusals:
    def refused(self, result, *words: str) -> None:
        """Exit code 1, one paragraph on standard error, no traceback, nothing on standard output."""
        assert result.returncode == 1
        assert result.stdout == ""
        assert result.stderr.startswith("apikeyrouter: ")
        assert result.stderr.count("\n") == 1
        for word in words:
            assert word in result.stderr

    def test_the_port_is_taken(self, processes):
        """Whoever has the port, the message names it and the way out."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = str(other.getsockname()[1])
            self.refused(processes.run("serve", "--port", port), port, "--port")
        assert not processes.log.exists()

    def test_the_log_has_a_writer(self, processes):
        """One file has one writer: the second server says who it is."""
        with processes.serving() as server:
            self.refused(processes.run("serve", "--port", "0"), str(server.process.pid), "PostgreSQL")
            assert httpx.get(f"{server.url}/health").status_code == 200

    def test_exposure_without_a_management_key(self, processes):
        """Nothing listens where others can connect while management is open to all."""
        self.refused(processes.run("serve", "--host", "::"), "APIKEYROUTER_MANAGEMENT_API_KEY")

    def test_a_variable_nobody_knows(self, processes):
        """A misspelt setting stops the start with its name, instead of being ignored."""
        self.refused(processes.run("serve", APIKEYROUTER_PROT="80"), "APIKEYROUTER_PROT", "APIKEYROUTER_PORT")


def test_following_the_log(processes, provider):
    """`events --follow` prints what is stored, then each event as it comes, as JSON lines."""
    with processes.serving() as server:
        furnish(processes, server, provider, GOOD)
        with processes.started("events", "--follow", "--json") as follower:
            stored = [json.loads(follower.stdout.readline()) for _ in range(4)]
            assert [event["position"] for event in stored] == [1, 2, 3, 4]
            ask(server.url)
            assert json.loads(follower.stdout.readline())["name"] == "request.decided.v3"
            follower.send_signal(signal.SIGINT)
            assert follower.wait(timeout=20) == 0


def test_help_is_light():
    """The command line starts without what only some commands need."""
    code = (
        "import sys, apikeyrouter.interfaces.cli.main; print(*sorted({n.split('.')[0] for n in sys.modules}))"
    )
    loaded = run_python(code).split()
    assert "typer" in loaded
    assert not {"numpy", "pydantic", "fastapi", "httpx", "uvicorn", "cryptography", "asyncio"} & set(loaded)


def run_python(code: str) -> str:
    import subprocess

    python = PROGRAM.removesuffix("apikeyrouter") + "python"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout


def test_a_server_killed_leaves_nothing_in_the_way(processes, provider):
    """After `kill -9` its run file points nowhere: commands open the log themselves."""
    with processes.serving() as server:
        furnish(processes, server, provider)
        server.process.kill()
        server.process.wait()
    assert run_path(processes.log).exists()
    added = processes.run("keys", "add", "openai", "--stdin", stdin=GOOD)
    assert added.returncode == 0, added.stderr

"""The provider as a process: one line tells where, SIGTERM ends it, a wrong script is told."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest
from provider_talk import request

COMMAND = [sys.executable, "-m", "apikeyrouter.interfaces.scripted_provider"]
SCRIPT = {"keys": {"alpha": {"key": "sk-a", "hold": False}}}
QUESTION = {"model": "m", "messages": [{"role": "user", "content": "Hello!"}]}


@pytest.fixture
def script_file(tmp_path):
    path = tmp_path / "script.json"
    path.write_text(json.dumps(SCRIPT))
    return path


def until_held(client) -> dict:
    """Wait until one call is held, and return the key's numbers."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        tally = client.get("/_scripted/ledger").json()["keys"]["alpha"]
        if tally["held"]:
            return tally
    raise TimeoutError


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_end(script_file, ending):
    """The process says its address, serves, and ends well on a signal, with calls still held."""
    process = subprocess.Popen([*COMMAND, "--script", str(script_file)], stdout=subprocess.PIPE, text=True)
    try:
        place = json.loads(process.stdout.readline())
        assert place["base_url"] == place["url"] + "/v1"
        headers = {"authorization": "Bearer sk-a"}
        with httpx.Client(base_url=place["url"], headers=headers) as client:
            answer = client.post("/v1/chat/completions", json=QUESTION)
            assert answer.json()["usage"]["completion_tokens"] == 32
            client.patch("/_scripted/keys/alpha", json={"hold": True})
            held = socket.create_connection(("127.0.0.1", int(place["url"].rsplit(":", 1)[1])))
            held.sendall(request())
            tally = until_held(client)
            assert (tally["calls"], tally["open"]) == (2, 1)
        process.send_signal(ending)
        assert process.wait(timeout=5) == 0
        held.close()
        assert process.stdout.read() == ""
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_the_script_may_come_from_standard_input():
    """A dash reads the script from standard input; a wrong one is told in a line, without a traceback."""
    done = subprocess.run(
        [*COMMAND, "--script", "-"], input='{"kyes": {}}', capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "kyes" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_told(script_file):
    """A port that is in use ends the start with a message."""
    process = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True, env=os.environ)
    try:
        port = json.loads(process.stdout.readline())["url"].rsplit(":", 1)[1]
        done = subprocess.run([*COMMAND, "--port", port], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "in use" in done.stderr
    finally:
        process.kill()
        process.wait()
        process.stdout.close()

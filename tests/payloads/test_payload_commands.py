"""The same from the command line, beside a server and without one."""

import asyncio
import json

import pytest
from command_line import Commands
from payload_world import CLIENT, PROMPT, a_world, change


@pytest.fixture
def left(tmp_path):
    """A log that a server left, with bodies of two persons."""

    async def serve():
        async with a_world(tmp_path) as world:
            ids = [(await world.ask(user=person)).headers["x-request-id"] for person in ("ann", "bob")]
            await world.stored()
            return ids

    return Commands(tmp_path / "router.db"), asyncio.run(serve())


def test_reading_and_erasing(left):
    """From the list to the receipt."""
    commands, (ann, bob) = left
    assert [one["request_id"] for one in commands.data("payloads", "list", "--client", CLIENT)] == [ann, bob]
    assert [one["request_id"] for one in commands.data("payloads", "list", "--request", bob)] == [bob]
    assert ann in commands.run("payloads", "list").stdout
    shown = commands.run("payloads", "show", ann, "--reason", "to answer").stdout
    assert PROMPT in shown
    assert "--- answer" in shown
    name = commands.data("payloads", "pseudonym", "--client", CLIENT, "--subject", "ann")["subject"]
    assert (
        commands.run("payloads", "pseudonym", "--client", CLIENT, "--subject", "ann").stdout.strip() == name
    )
    assert len(commands.data("payloads", "list", "--pseudonym", name)) == 1
    erase = ("payloads", "erase", "--client", CLIENT, "--subject", "-", "--yes", "--reason", "a letter")
    receipt = commands.data(*erase, stdin="ann\n")
    assert receipt["subjects"][0]["subject"] == name
    later = commands.data("payloads", "receipt", receipt["erasure_id"])
    assert later["sealed"]
    assert len(later["proofs"]) == 2
    assert [one["erasure_id"] for one in commands.data("payloads", "receipt")] == [receipt["erasure_id"]]
    assert f"subject {name}" in commands.run("payloads", "receipt").stdout
    assert commands.data("payloads", "verify")["ok"]
    assert commands.run("verify").exit_code == 0
    assert commands.run("replay", "verify").exit_code == 0
    assert commands.data("payloads", "expire") == {"expired": {}}
    assert "nothing" in commands.run("payloads", "expire").stdout


def test_switching(left):
    """On with a span, listed without a server, off."""
    commands, _ = left
    told = commands.data("payloads", "capture", "on", "--client", "other", "--keep", "30d", "--reason", "why")
    assert {one["client_id"]: one["keep_us"] for one in told} == {CLIENT: None, "other": 30 * 86_400_000_000}
    assert commands.data("payloads", "capture", "list") == told
    assert "30 days" in commands.run("payloads", "capture", "list").stdout
    told = commands.data("payloads", "capture", "off", "--client", CLIENT)
    assert CLIENT not in {one["client_id"] for one in told}


def test_nothing_is_erased_without_a_yes(left):
    """Whoever says no, or cannot be asked, changes nothing."""
    commands, _ = left
    for answer in ("n\n", ""):
        refused = commands.run("payloads", "erase", "--client", CLIENT, stdin=answer)
        assert refused.exit_code == 1
    assert len(commands.data("payloads", "list")) == 2
    assert commands.run("payloads", "erase", "--client", CLIENT, stdin="y\n").exit_code == 0
    assert commands.data("payloads", "list") == []
    assert "Nothing is kept" in commands.run("payloads", "list").stdout


def test_refusals_are_sentences(left):
    """With exit code 1, and no traceback."""
    commands, _ = left
    for words, said in (
        (("show", "nothing"), "no bodies are kept"),
        (("list", "--request", "nothing"), "no bodies are kept"),
        (("receipt", "nothing"), "no erasure"),
        (("erase", "--client", "nobody", "--yes"), "no bodies are kept"),
        (("capture", "off", "--client", "nobody"), "not kept"),
        (("capture", "on", "--client", "x", "--keep", "soon"), "30d"),
    ):
        refused = commands.run("payloads", *words)
        assert refused.exit_code == 1
        assert said in refused.output
        assert "Traceback" not in refused.output


def test_a_check_that_finds_something_fails(left):
    """With exit code 1, and what is wrong where."""
    commands, (ann, _) = left
    change(commands.log, "DELETE FROM payloads WHERE request_id = ? AND part = 'answer'", ann)
    found = commands.run("payloads", "verify")
    assert found.exit_code == 1
    assert f"missing: {ann} answer" in found.stdout
    told = commands.run("payloads", "verify", "--json")
    assert told.exit_code == 1
    assert json.loads(told.stdout)["ok"] is False


def test_without_a_capture_there_is_nothing(tmp_path):
    """And no file appears by asking."""
    commands = Commands(tmp_path / "router.db")
    commands.data("providers", "add", "openai")
    assert commands.data("payloads", "list") == []
    assert commands.data("payloads", "capture", "list") == []
    assert "Nobody" in commands.run("payloads", "capture", "list").stdout
    assert commands.data("payloads", "verify")["payloads"] == 0
    assert not [path for path in tmp_path.iterdir() if "payload" in path.name]

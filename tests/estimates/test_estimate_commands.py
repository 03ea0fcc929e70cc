"""`apikeyrouter estimate` and `apikeyrouter estimates accuracy`."""

import asyncio

import pytest
from command_line import Commands
from estimate_shop import CHEAP, DEAR, INTENT, MODEL, adapter

from apikeyrouter import ApiKeyRouter, RouterSettings
from apikeyrouter.interfaces.scripted_provider import Script, ThreadedProvider


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Make a log of three requests at two providers."""
    path = tmp_path_factory.mktemp("estimates") / "log.db"
    with ThreadedProvider(Script(accept_any_key=True)) as provider:
        asyncio.run(_routed(str(path), provider.base_url))
    return path


async def _routed(log: str, base_url: str) -> None:
    async with ApiKeyRouter(config=RouterSettings(database_url=log, synchronous="NORMAL")) as router:
        await router.register_provider("dear", adapter(base_url, DEAR))
        await router.register_provider("cheap", adapter(base_url, CHEAP))
        await router.register_key("sk-test-a", "dear")
        await router.register_key("sk-test-b", "cheap")
        for _ in range(3):
            await router.route(INTENT, "cost")
        await router.cost_controller.create_budget("team", "0.0001", "total", scope_id="red")


@pytest.fixture
def commands(log) -> Commands:
    return Commands(log)


def test_a_text(commands, tmp_path):
    """Candidates with their costs, and who would be chosen for the objective."""
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("Tell me of ducks. " * 50)
    asked = ("estimate", "--model", MODEL, "--input-file", str(prompt), "--max-tokens", "500")
    told = commands.data(*asked, "--objective", "cost")
    assert (told["chosen_provider_id"], len(told["candidates"])) == ("cheap", 2)
    assert {one["output_tokens_bound"] for one in told["candidates"]} == {500}
    page = commands.run(*asked, "--objective", "cost").stdout
    assert "→" in page
    assert "Chose key" in page


def test_a_text_from_standard_input(commands):
    """A dash stands for it."""
    told = commands.data("estimate", "--model", MODEL, "--input-file", "-", stdin="Hello!")
    assert told["candidates"][0]["input_tokens_bound"] < 300


def test_a_length(commands):
    """Where there is no text yet."""
    told = commands.data("estimate", "--model", MODEL, "--tokens", "8000", "--max-tokens", "100")
    assert {(one["input_tokens"], one["input_from"]) for one in told["candidates"]} == {(8000, "given")}
    assert told["candidates"][1]["bound"]["amount"] == "0.021"


def test_for_whom(commands):
    """A budget of the team is named with what keeps the request out."""
    asked = ("estimate", "--model", MODEL, "--tokens", "10", "--team", "red", "--client", "c", "--tag", "t")
    told = commands.data(*asked)
    assert told["refused"] == "budget_exceeded"
    assert "not in" in commands.run(*asked).stdout


@pytest.mark.parametrize("given", [(), ("--tokens", "1", "--input-file", "-")])
def test_one_input(commands, given):
    """A text or a length, not both and not none."""
    assert commands.run("estimate", "--model", MODEL, *given).exit_code == 2


def test_a_text_that_is_none(commands, tmp_path):
    """A file that is not there, or is no UTF-8, cannot be sent, so it cannot be estimated."""
    missing = commands.run("estimate", "--model", MODEL, "--input-file", str(tmp_path / "missing"))
    assert missing.exit_code == 2
    (tmp_path / "bytes").write_bytes(b"\xff")
    refused = commands.run("estimate", "--model", MODEL, "--input-file", str(tmp_path / "bytes"))
    assert refused.exit_code == 2
    assert "UTF-8" in refused.output


def test_accuracy(commands, tmp_path):
    """Estimates and actual costs side by side; a log without settlements says so."""
    [told] = commands.data("estimates", "accuracy")
    assert (told["provider_id"], told["settlements"], told["above_bound"]) == ("cheap", 3, 0)
    assert "measured" in commands.run("estimates", "accuracy").stdout

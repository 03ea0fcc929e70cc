"""`apikeyrouter forecast backtest`, on traces and on synthetic traffic."""

import json

import pytest
from typer.testing import CliRunner

from apikeyrouter.interfaces.cli.forecast import Dimension, PatternName, app
from apikeyrouter.interfaces.traffic.patterns import Pattern

QUICK = ("--window", "60", "--series", "1")


def run(*arguments: str):
    return CliRunner().invoke(app, ["backtest", *arguments], env={"COLUMNS": "100"})


def data(*arguments: str):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def small_trace(tmp_path):
    """Return a trace of two hundred seconds, a request a second, all of a hundred tokens."""
    file = tmp_path / "small.csv"
    rows = [f"2024-01-01 00:{second // 60:02d}:{second % 60:02d},60,40" for second in range(200)]
    file.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows]) + "\n")
    return file


@pytest.mark.parametrize("pattern", list(PatternName))
def test_patterns(pattern):
    """Every kind of synthetic traffic can be tried."""
    told = data("--pattern", pattern, *QUICK)
    assert told["windows"][0]["cases"] == told["all"]["cases"] > 0
    assert sum(part["cases"] for part in told["parts"]) == told["all"]["cases"]


def test_the_names_are_the_patterns():
    """The command offers exactly the kinds that there are."""
    assert list(PatternName) == list(Pattern)


def test_the_page():
    """The page names its measures and tells how the straight line is drawn."""
    shown = run("--pattern", "steady", *QUICK)
    assert shown.exit_code == 0
    for words in ("calibration", "Brier", "80 %", "Straight line: used in this window", "ratio"):
        assert words in shown.stdout


def test_a_trace(small_trace):
    """A trace is scored, and a window longer than it is said to be too long."""
    shown = run("--trace", str(small_trace), "--window", "60", "--window", "900")
    assert shown.exit_code == 0
    assert "small.csv, requests" in shown.stdout
    assert "No window of 900 s is whole" in shown.stdout


def test_tokens(small_trace):
    """Tokens are the sum of input and output; where all requests are equal, the answers are."""
    requests, tokens = (
        data("--trace", str(small_trace), "--window", "60", "--dimension", dimension)
        for dimension in Dimension
    )
    assert tokens["dimension"] == "tokens"
    assert tokens["all"]["exhausted"] == requests["all"]["exhausted"]


def test_accounts(small_trace):
    """Spread over accounts, there are more forecasts of less demand each."""
    one, four = (data("--trace", str(small_trace), "--window", "60", "--accounts", n) for n in ("1", "4"))
    assert four["all"]["cases"] > 2 * one["all"]["cases"]


def test_loads(small_trace):
    """Far below the limit nothing runs out."""
    assert data("--trace", str(small_trace), "--window", "60", "--load", "0.2")["all"]["exhausted"] == 0


def test_the_same_seed():
    """The same seed gives the same scores."""
    assert data("--seed", "3", *QUICK) == data("--seed", "3", *QUICK) != data("--seed", "4", *QUICK)

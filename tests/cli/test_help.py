"""Every command explains itself."""

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from apikeyrouter.interfaces.cli.main import app


def commands(group, path=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


COMMANDS = sorted(commands(get_command(app)))


def test_the_commands():
    """The commands of the contract as far as they are built; a stub of another would be a lie."""
    assert {path[0] for path in COMMANDS} == {
        "budgets",
        "demo",
        "doctor",
        "estimate",
        "estimates",
        "events",
        "explain",
        "forecast",
        "keys",
        "models",
        "payloads",
        "prices",
        "proof",
        "providers",
        "replay",
        "report",
        "retention",
        "serve",
        "verify",
        "what-if",
        "witness",
    }


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_shows_an_example(path):
    """Help ends with a line that can be typed, and every command has --json."""
    shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "100", "TERM": "dumb"})
    assert shown.exit_code == 0
    assert f"apikeyrouter {' '.join(path)}" in shown.stdout
    assert "--json" in shown.stdout


def test_an_unknown_command():
    """A mistake in typing is a usage error."""
    assert CliRunner().invoke(app, ["sevre"]).exit_code == 2


def test_the_version():
    """--version says what is installed."""
    assert CliRunner().invoke(app, ["--version"]).stdout.startswith("0.")

"""Take key material from where others cannot read it: a hidden prompt, standard input, the environment."""

import os
import sys
from typing import Annotated

import typer

FromStdin = Annotated[bool, typer.Option("--stdin", help="Read the key from standard input.")]
FromEnvironment = Annotated[
    str | None,
    typer.Option(
        "--env", metavar="NAME", help="Read the key from an environment variable.", show_default=False
    ),
]
WITH_STRAY_ARGUMENTS = {"allow_extra_args": True}
"""Lets a command see a key given as an argument, which the parser itself would repeat on the screen."""

MOST_CHARS = 64 * 1024


def read_material(context: typer.Context, *, stdin: bool, variable: str | None) -> str:
    """Return the material, or refuse in words that do not hold it."""
    if context.args:
        raise typer.BadParameter(
            "key material is not taken from the command line, where every user of this machine can read it:"
            " use the prompt, --stdin or --env NAME"
        )
    if stdin and variable is not None:
        raise typer.BadParameter("--stdin and --env exclude each other")
    if variable is not None:
        return _from_environment(variable)
    if stdin:
        return sys.stdin.readline(MOST_CHARS).strip()
    if not is_terminal():
        raise typer.BadParameter("there is no terminal to ask for the key at: use --stdin or --env NAME")
    return str(typer.prompt("Key", hide_input=True, err=True)).strip()


def is_terminal() -> bool:
    """Tell whether somebody can be asked."""
    return sys.stdin.isatty()


def _from_environment(variable: str) -> str:
    material = os.environ.get(variable, "").strip()
    if not material:
        # Not even the name is repeated: people give the key itself by mistake.
        raise typer.BadParameter("the environment variable that --env names is not set, or is empty")
    return material

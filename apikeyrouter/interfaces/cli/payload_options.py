"""Options of the commands about kept bodies, and how a person is named without being shown to others."""

import sys
from typing import Annotated
from urllib.parse import quote

import typer

Client = Annotated[str, typer.Option(metavar="CLIENT", help="The client, as x-akr-client names it.")]
Subject = Annotated[
    str | None,
    typer.Option(
        metavar="PERSON",
        help="A person as requests name it in safety_identifier or user; - reads it from standard input.",
    ),
]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Why; it stands in the log.")]


def person_named(given: str | None) -> str | None:
    """Take a person's name from standard input where arguments would show it to every user of the machine."""
    name = sys.stdin.readline().rstrip("\n") if given == "-" else given
    if name == "":
        raise typer.BadParameter(
            "nobody is named: give a name, or leave the option out", param_hint="--subject"
        )
    return name


def id_in_path(given: str) -> str:
    """Return an id as a path takes it, or refuse one that is empty, as of a variable that was not set."""
    if not given:
        raise typer.BadParameter("it is empty: give an id, as the lists show it", param_hint="ID")
    return quote(given, safe="")

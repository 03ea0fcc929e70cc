"""Options of the commands about kept bodies, and how a person is named without being shown to others."""

import sys
from typing import Annotated

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
    return sys.stdin.readline().rstrip("\n") if given == "-" else given

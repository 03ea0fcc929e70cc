"""`apikeyrouter doctor`: look at what the router stands on, and say what is wrong."""

from typing import Annotated

import typer

from apikeyrouter.interfaces.cli.options import AsJson, Database
from apikeyrouter.interfaces.cli.refusing import REFUSED
from apikeyrouter.interfaces.cli.screen import console, print_json, table

STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: apikeyrouter doctor --database ./apikeyrouter.db")(doctor)


def doctor(
    database: Database = None,
    show_all: Annotated[
        bool, typer.Option("--all", help="Show settings that are at their defaults too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check versions, settings, log, vault, master key, disk and exposure; exit 1 if anything fails."""
    from apikeyrouter.interfaces.cli.checkup import examine

    findings = examine(database)
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        shown = table("", "what", "found")
        for finding in findings:
            if show_all or not (finding.status == "ok" and finding.detail.endswith("(default)")):
                shown.add_row(f"[{STYLES[finding.status]}]{finding.status}[/]", finding.what, finding.detail)
        console().print(shown)
    if any(finding.status == "fail" for finding in findings):
        raise typer.Exit(REFUSED)

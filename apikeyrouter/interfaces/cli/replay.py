"""`apikeyrouter replay`: make recorded decisions again."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from apikeyrouter.interfaces.cli.options import AsJson, Database
from apikeyrouter.interfaces.cli.refusing import REFUSED
from apikeyrouter.interfaces.cli.screen import console, print_json, table

if TYPE_CHECKING:
    from apikeyrouter.application.replay import Verification
    from apikeyrouter.domain.events import Recorded

app = typer.Typer(help="Make recorded decisions again.", no_args_is_help=True)


@app.callback()
def _replay() -> None:
    pass


@app.command(epilog="Example: apikeyrouter replay verify --database ./apikeyrouter.db")
def verify(database: Database = None, as_json: AsJson = False) -> None:
    """Decide every recorded decision again from the log, and compare the bytes; exit 1 if any differs."""
    import msgspec

    from apikeyrouter.application.replay import verify as decide_again
    from apikeyrouter.interfaces.cli.log_access import open_reader

    reader = open_reader(database)
    verification = decide_again(_with_progress(reader.read(), reader.head()))
    if as_json:
        print_json({**msgspec.to_builtins(verification), "identical": verification.identical})
    else:
        show(verification)
    if not verification.identical:
        raise typer.Exit(REFUSED)


def show(verification: "Verification") -> None:
    """Say how many decisions came out the same, and where others did not."""
    page = console()
    page.print(outcome(verification))
    if verification.identical:
        return
    shown = table(">position", "stream", "field", "recorded", "again")
    for one in verification.differences:
        shown.add_row(str(one.position), f"{one.stream}@{one.version}", one.field, one.recorded, one.again)
    page.print(shown)


def outcome(verification: "Verification") -> str:
    """Say the verdict in a line."""
    counted = f"{verification.decisions:,} decisions made again from {verification.events:,} events"
    if verification.identical:
        return f"[green]✓[/] {counted}: all came out to the same bytes"
    return f"[bold red]✗ {counted}: {verification.different:,} came out otherwise[/]"


def _with_progress(events: Iterator["Recorded"], total: int) -> Iterator["Recorded"]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TextColumn("events"))
    with Progress(*columns, console=console(errors=True), transient=True) as progress:
        yield from progress.track(events, total=total)

"""`apikeyrouter replay verify`: make recorded decisions again, on every processor there is."""

from typing import TYPE_CHECKING, Annotated

import typer

from apikeyrouter.interfaces.cli.options import AsJson, Database, Workers
from apikeyrouter.interfaces.cli.passing import passing, progress
from apikeyrouter.interfaces.cli.refusing import REFUSED
from apikeyrouter.interfaces.cli.screen import console, print_json, table

if TYPE_CHECKING:
    from apikeyrouter.application.replay import Verification

MOST_FIELDS = 4

First = Annotated[int, typer.Option("--from", min=1, metavar="POSITION", help="From this position on.")]
Last = Annotated[
    int | None,
    typer.Option("--to", min=1, metavar="POSITION", help="Up to this position.", show_default="the end"),
]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Examples: apikeyrouter replay verify ·"
        " apikeyrouter replay verify --from 5000 --to 9000 --workers 2"
    )(verify)


def verify(
    first: First = 1,
    last: Last = None,
    workers: Workers = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Decide every recorded decision again from the log, and compare the bytes; exit 1 if any differs.

    The state is folded from the beginning; --from and --to choose which decisions are compared. Where
    archived requests are not beside the log, it is folded on from a snapshot behind them, if one fits.
    """
    import msgspec

    if last is not None and first > last:
        raise typer.BadParameter(f"nothing lies between {first} and {last}", param_hint="--from")
    verification = _verified(database, first, last, workers)
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
    if verification.base:
        page.print(
            f"What came before is archived elsewhere: folded on from the snapshot at {verification.base:,}."
        )
    if verification.by_former_rules:
        page.print(
            f"{verification.by_former_rules:,} more were made by former rules and cannot be made again."
        )
    if verification.identical:
        return
    shown = table(">position", "stream", "field", "recorded", "again", "differ as well")
    for one in verification.differences:
        place = f"{one.stream}@{one.version}"
        others = ", ".join(one.fields[1 : MOST_FIELDS + 1])
        shown.add_row(str(one.position), place, one.field, one.recorded, one.again, others)
    page.print(shown)


def outcome(verification: "Verification") -> str:
    """Say the verdict in a line."""
    counted = f"{verification.decisions:,} decisions made again from {verification.events:,} events"
    if verification.identical:
        return f"[green]✓[/] {counted}: all came out to the same bytes"
    return f"[bold red]✗ {counted}: {verification.different:,} came out otherwise[/]"


def _verified(database: str | None, first: int, last: int | None, workers: int | None) -> "Verification":
    from apikeyrouter.adapters.workers.processes import processors
    from apikeyrouter.adapters.workers.verification import verify_in_processes, worth_sharing
    from apikeyrouter.application.replay import verify_past
    from apikeyrouter.interfaces.cli.log_access import open_reader, open_whole_log, snapshots_of

    reader, past = open_reader(database), open_whole_log(database)
    head = reader.head()
    if first > max(head, 1):
        raise typer.BadParameter(f"the log ends at {head}", param_hint="--from")
    end = head if last is None else min(last, head)
    shared_by = workers or worth_sharing(first, end, processors())
    if shared_by == 1 or not past.is_at_hand(first, end):
        with progress("replaying") as track:
            return verify_past(
                past,
                first=first,
                last=end,
                heard=lambda events, _: track(events, end),
                snapshots=snapshots_of(reader),
            )
    with passing("replaying", end) as passed:
        return verify_in_processes(reader.path, first, end, shared_by, passed)

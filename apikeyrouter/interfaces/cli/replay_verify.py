"""`apikeyrouter replay verify`: make recorded decisions again, on as many processors as are given to it."""

from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apikeyrouter.interfaces.cli.options import AsJson, Database
from apikeyrouter.interfaces.cli.passing import progress
from apikeyrouter.interfaces.cli.refusing import REFUSED
from apikeyrouter.interfaces.cli.screen import console, print_json, table

if TYPE_CHECKING:
    from apikeyrouter.application.replay import Verification

MOST_FIELDS = 4
FOLDING_SHARE = 0.4
"""What an event costs that is only folded, where one that is decided again costs one."""

First = Annotated[int, typer.Option("--from", min=1, metavar="POSITION", help="From this position on.")]
Last = Annotated[
    int | None,
    typer.Option("--to", min=1, metavar="POSITION", help="Up to this position.", show_default="the end"),
]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Examples: apikeyrouter replay verify ·"
        " apikeyrouter replay verify --from 5000 --to 9000 --jobs 2"
    )(verify)


def verify(
    first: First = 1,
    last: Last = None,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Processes that share the work.")] = 1,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Decide every recorded decision again from the log, and compare the bytes; exit 1 if any differs.

    The state is always folded from the beginning; --from and --to choose which decisions are compared.
    """
    import msgspec

    from apikeyrouter.application.replay import verify as decide_again
    from apikeyrouter.interfaces.cli.log_access import log_file, open_reader
    from apikeyrouter.interfaces.cli.options import settings_from

    reader = open_reader(database)
    end = reader.head() if last is None else min(last, reader.head())
    if jobs > 1:
        verification = _verify_in_parts(log_file(settings_from(database_url=database)), first, end, jobs)
    else:
        with progress("replaying") as track:
            verification = decide_again(track(reader.read(until=end), end), first=first, last=end)
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


def parts_of(first: int, last: int, jobs: int) -> list[tuple[int, int]]:
    """Cut a range into parts that take equally long: who has a later one folds more before it begins."""
    shares = [sum((1 - FOLDING_SHARE) ** place for place in range(count)) for count in range(jobs + 1)]
    ends = [first - 1 + round((last - first + 1) * share / shares[-1]) for share in shares]
    return [(begin + 1, end) for begin, end in pairwise(ends) if end > begin]


def _verify_in_parts(path: Path, first: int, last: int, jobs: int) -> "Verification":
    from apikeyrouter.application.replay import together

    parts = parts_of(first, last, jobs)
    with ProcessPoolExecutor(max(len(parts), 1), mp_context=get_context("spawn")) as pool:
        tasks = [pool.submit(verify_part, str(path), begin, end) for begin, end in parts]
        return together([task.result() for task in tasks])


def verify_part(path: str, first: int, last: int) -> "Verification":
    """Verify one part, in a process of its own."""
    from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
    from apikeyrouter.application.replay import verify as decide_again

    return decide_again(SqliteReader(path).read(until=last), first=first, last=last)

"""`apikeyrouter retention`: how long requests are kept, what must stay, and letting go of the rest."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apikeyrouter.interfaces.cli import retention_holds
from apikeyrouter.interfaces.cli.options import AsJson, Database
from apikeyrouter.interfaces.cli.refusing import REFUSED
from apikeyrouter.interfaces.cli.screen import console, print_json, print_whole, table

if TYPE_CHECKING:
    from apikeyrouter.interfaces.cli.management import Management

app = typer.Typer(
    help="Let requests leave the log after their time, archived and proven.", no_args_is_help=True
)
app.add_typer(retention_holds.app, name="hold")

POLL_S = 0.2
ENDED = {"done", "failed"}


@app.command("set", epilog="Example: apikeyrouter retention set 400d")
def set_retention(
    keep: Annotated[str, typer.Argument(metavar="KEEP", help="400d, 60w, 2y (of 365 days), or forever.")],
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Say how long requests are kept; nothing is dropped before `retention apply`. Default: forever."""
    from apikeyrouter.interfaces.cli.management import manage

    told = manage(database, lambda api: api.ask("POST", "/retention", {"keep": keep}))
    if as_json:
        print_json(told)
        return
    console().print(_policy(told))


@app.command(epilog="Example: apikeyrouter retention status")
def status(database: Database = None, as_json: AsJson = False) -> None:
    """Tell how long requests are kept, what is old enough to go, which segments there are, and the holds."""
    told = _status(database)
    if as_json:
        print_json(told)
        return
    page = console()
    page.print(_policy(told), soft_wrap=True)
    if told["old_enough"] is not None:
        page.print(_old_enough(told["old_enough"]), soft_wrap=True)
    if told["segments"]:
        _show_segments(told["segments"])
    if told["holds"]:
        retention_holds.show_holds(told["holds"])


@app.command(epilog="Examples: apikeyrouter retention apply --dry-run · apikeyrouter retention apply")
def apply(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would leave the log.")] = False,
    archive: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Put the segments here. Default: beside the log.", file_okay=False),
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(help="Only what is before this time (UTC), whatever is old enough.")
    ] = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Archive what is old enough, verify the archive, record it, then delete the rows from the log.

    Whole requests go, and nothing that a budget, a quota, an open request or a hold still needs.
    """
    from apikeyrouter.interfaces.cli.management import manage_existing

    before = None if until is None else until.isoformat()
    folder = None if archive is None else str(archive.resolve())

    async def act(api: "Management") -> dict[str, Any]:
        if dry_run:
            asked = "" if before is None else f"?until={before}"
            return dict(await api.ask("GET", f"/retention/outlook{asked}"))
        await api.ask("POST", "/retention/apply", {"until": before, "archive": folder})
        return await _ended(api)

    told = manage_existing(database, act)
    if as_json:
        print_json(told)
    else:
        _show_run(told, dry_run=dry_run)
    if told["step"] == "failed":
        raise typer.Exit(REFUSED)


@app.command(epilog="Example: apikeyrouter retention restore apikeyrouter.db.segments/*.zip --into full.db")
def restore(
    segments: Annotated[
        list[Path], typer.Argument(metavar="SEGMENT...", help="Segment files.", exists=True, dir_okay=False)
    ],
    into: Annotated[Path, typer.Option(metavar="FILE", help="A log file that does not exist yet.")],
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Write a new log in which archived requests are back in their places; the log itself stays as it is."""
    import msgspec

    from apikeyrouter.adapters.proof.opening import evidence_of
    from apikeyrouter.adapters.retention.restoring import restore as make
    from apikeyrouter.interfaces.cli.log_access import log_file, open_reader
    from apikeyrouter.interfaces.cli.options import settings_from

    open_reader(database)
    settings = settings_from(database_url=database)
    path = log_file(settings).resolve()
    told = make(evidence_of(settings, path), path, segments, into.resolve())
    if as_json:
        print_json({"into": str(into), **msgspec.to_builtins(told)})
        return
    page = console()
    page.print(
        f"{into}: {told.events:,} events, {told.restored:,} of them came back; verified", soft_wrap=True
    )
    if told.away:
        page.print(f"Still archived: {', '.join(told.away)}", soft_wrap=True)


async def _ended(api: "Management") -> dict[str, Any]:
    import asyncio

    while True:
        run: dict[str, Any] = (await api.ask("GET", "/retention"))["run"]
        if run["step"] in ENDED:
            return run
        await asyncio.sleep(POLL_S)


def _status(database: str | None) -> dict[str, Any]:
    """Read the log beside whoever writes it."""
    from apikeyrouter.adapters.ambient import SystemClock
    from apikeyrouter.adapters.retention.segment_folder import names_beside
    from apikeyrouter.application.retention.choosing import old_enough
    from apikeyrouter.interfaces.cli.log_access import folded, open_reader
    from apikeyrouter.interfaces.retention_views import choice_view, status_view

    reader = open_reader(database)
    state = folded(reader)
    found = old_enough(reader, state, SystemClock().now_us())
    told = status_view(state, names_beside(reader.path))
    return {**told, "old_enough": None if found is None else choice_view(*found)}


def _policy(told: dict[str, Any]) -> str:
    if told["keep_days"] is None:
        return "Requests are kept for ever."
    warning = f" [yellow]{told['warning'][0].upper()}{told['warning'][1:]}.[/]" if told["warning"] else ""
    return f"Requests are kept for {told['keep_days']:g} days.{warning}"


def _old_enough(told: dict[str, Any]) -> str:
    counted = f"{told['requests']:,} requests with {told['events']:,} events"
    kept = "".join(f", {count:,} stay by {reason}" for reason, count in told["kept"].items())
    cut = told["cut"]
    return f"Old enough to go, before {cut['before']} ({cut['because']}): {counted}{kept}"


def _show_segments(segments: list[dict[str, Any]]) -> None:
    shown = table("segment", ">requests", ">events", "from", "to", "file")
    for one in segments:
        where = "here" if one["here"] else "elsewhere"
        shown.add_row(
            one["segment"], str(one["requests"]), str(one["events"]), one["from"][:10], one["to"][:10], where
        )
    print_whole(console(), shown)


def _show_run(told: dict[str, Any], *, dry_run: bool) -> None:
    page = console()
    if told["step"] == "failed":
        page.print(f"[bold red]✗ {told['reason']}[/]", soft_wrap=True)
    elif not told["events"]:
        page.print(f"Nothing leaves the log: {told['reason']}.")
    else:
        verb = "would leave" if dry_run else "left"
        page.print(f"{told['requests']:,} requests with {told['events']:,} events {verb} the log.")
    for reason, count in told["kept"].items():
        page.print(f"{count:,} requests stay by {reason}.")
    for segment in told["segments"]:
        page.print(f"  {segment}", soft_wrap=True)

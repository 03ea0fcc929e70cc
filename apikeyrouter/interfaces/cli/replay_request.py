"""`apikeyrouter replay request`: one request's way, step by step, and once more through the line."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from apikeyrouter.interfaces.cli.options import AsJson, Database
from apikeyrouter.interfaces.cli.refusing import REFUSED
from apikeyrouter.interfaces.cli.screen import console, moment, print_json

if TYPE_CHECKING:
    from apikeyrouter.application.reenact import Reenactment


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: apikeyrouter replay request 019ab3c4d5e67f8090a1b2c3d4e5f607")(request)


def request(
    request_id: Annotated[str, typer.Argument(metavar="REQUEST_ID", help="The x-request-id of an answer.")],
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Show what each event of a request changed, and send it through the line again; exit 1 if that differs.

    It runs against an upstream that answers as recorded, while everybody else does what they did.
    """
    from apikeyrouter.application.audit import trail
    from apikeyrouter.application.reenact import reenact
    from apikeyrouter.application.retrace import end_of, retrace
    from apikeyrouter.interfaces.cli.log_access import open_reader, open_whole_log
    from apikeyrouter.interfaces.cli.passing import progress
    from apikeyrouter.interfaces.request_replays import replay_view

    reader, log = open_reader(database), open_whole_log(database)
    own = trail(reader, request_id).events
    until = min(end_of(own), reader.head())
    with progress("replaying") as track:
        steps = retrace(track(log.read(until=until, as_of=own[0].position), until), own[0].stream, own)
        again = reenact(track(log.read(until=until, as_of=own[0].position), until), own)
    told = replay_view(request_id, steps, again)
    if as_json:
        print_json(told)
    else:
        _show(told, again)
    if again.different is not None:
        raise typer.Exit(REFUSED)


def _show(told: dict[str, Any], again: "Reenactment") -> None:
    page = console()
    page.print(f"[bold]Request {told['request_id']}[/]")
    for step in told["steps"]:
        place = f"[dim]{step['position']:>8}  {moment(step['data']['at_us'])}[/]"
        page.print(
            f"{place}  [cyan]{step['name']}[/] [dim]{step['stream']}@{step['version']}[/]", soft_wrap=True
        )
        for name, pair in step["changed"].items():
            page.print(
                f"            {name}: {_plain(pair['before'])} → {_plain(pair['after'])}",
                markup=False,
                soft_wrap=True,
            )
    page.print()
    if again.unable is not None:
        page.print(f"[yellow]Not sent through the line again:[/] {again.unable}.")
    elif again.different is None:
        count = len(again.made)
        page.print(f"[green]✓[/] Sent through the line again: all {count} events came out to the same bytes")
    else:
        one = again.different
        page.print(
            f"[bold red]✗ Sent through the line again, it differs at {one.stream}@{one.version}[/]:"
            f" {one.field} was {one.recorded}, came out as {one.again}"
        )


def _plain(value: object) -> str:
    return "-" if value is None else str(value)

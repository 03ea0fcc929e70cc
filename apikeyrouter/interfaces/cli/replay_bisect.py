"""`apikeyrouter replay bisect`: since which event a request is routed otherwise."""

from typing import TYPE_CHECKING, Annotated

import typer

from apikeyrouter.application.compared_by import By
from apikeyrouter.interfaces.cli.options import AsJson, Database
from apikeyrouter.interfaces.cli.screen import console, print_json

if TYPE_CHECKING:
    from apikeyrouter.application.turning_point import Bisection


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Examples: apikeyrouter replay bisect REQUEST_ID ·"
        " apikeyrouter replay bisect --model gpt-4o --objective cost --by provider"
    )(bisect)


def bisect(
    request_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[REQUEST_ID]", help="A recorded request; or name a model.", show_default=False
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Ask for this model instead of a recorded request.")
    ] = None,
    provider: Annotated[str | None, typer.Option(help="With --model: only this provider.")] = None,
    objective: Annotated[str, typer.Option(help="With --model: the objective.")] = "fairness",
    by: Annotated[By, typer.Option(help="What counts as routed otherwise.")] = By.Provider,
    first: Annotated[int, typer.Option("--from", min=1, metavar="POSITION", help="Look from here on.")] = 1,
    last: Annotated[
        int | None,
        typer.Option(
            "--to",
            min=1,
            metavar="POSITION",
            help="Look up to here.",
            show_default="the request, else the end",
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--every-event", help="Ask after every event of the stretch.")
    ] = False,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Find the event behind which a request began to be routed as it is at the end of a stretch.

    It is asked at 64 places of the stretch, then between the two around the last change, and so on.
    """
    from apikeyrouter.application.retention.gaps import refuse_cut
    from apikeyrouter.application.turning_point import bisect as find
    from apikeyrouter.interfaces.bisections import bisection_view, made_up_question, recorded_question
    from apikeyrouter.interfaces.cli.log_access import open_reader, open_whole_log
    from apikeyrouter.interfaces.cli.passing import progress

    if (request_id is None) == (model is None):
        raise typer.BadParameter("give a request's id, or --model", param_hint="REQUEST_ID")
    reader, log = open_reader(database), open_whole_log(database)
    asked_at: int | None = None
    if request_id is not None:
        question, asked_at = recorded_question(reader, request_id)
    else:
        question = made_up_question(model or "", provider, objective)
    end = min(last or asked_at or reader.head(), reader.head())
    refuse_cut(log, first, end)
    with progress("asking") as track:
        found = find(
            lambda high: track(log.read(until=high, as_of=first), high),
            question,
            first=first,
            last=end,
            by=by,
            every=every,
        )
    if as_json:
        print_json(bisection_view(found))
    else:
        _show(found)


def _show(found: "Bisection") -> None:
    from apikeyrouter.interfaces.bisections import bisection_view
    from apikeyrouter.interfaces.cli.events import show_events

    page, told = console(), bisection_view(found)
    where = (
        f"positions {found.first:,} to {found.last:,}, asked {found.asked:,} times in {found.passes} passes"
    )
    turn = told["turn"]
    if turn is None:
        page.print(f"Wherever it was asked the answer was [bold]{found.now}[/] [dim]({where})[/]")
        page.print("[dim]What came and went in between is seen with --every-event.[/]")
        return
    page.print(f"Routed to [bold]{found.now}[/] since this event [dim]({where})[/]:")
    show_events([turn["event"]])
    if turn["explanation"]:
        page.print(turn["explanation"], markup=False)
    for name in ("before", "after"):
        page.print(f"\n[bold]{name.capitalize()}[/]")
        page.print(turn[name]["explanation"], markup=False)

"""`apikeyrouter replay bisect`: since which event a request is routed otherwise."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from apikeyrouter.application.compared_by import By
from apikeyrouter.interfaces.cli.options import AsJson, Database
from apikeyrouter.interfaces.cli.screen import console, print_json

if TYPE_CHECKING:
    from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
    from apikeyrouter.application.turning_point import Bisection
    from apikeyrouter.domain.questions import RouteQuestion


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
    from apikeyrouter.application.turning_point import bisect as find
    from apikeyrouter.interfaces.cli.log_access import open_reader
    from apikeyrouter.interfaces.cli.passing import progress

    if (request_id is None) == (model is None):
        raise typer.BadParameter("give a request's id, or --model", param_hint="REQUEST_ID")
    reader = open_reader(database)
    question, asked_at = _question(reader, request_id, model, provider, objective)
    end = min(last or asked_at or reader.head(), reader.head())
    with progress("asking") as track:
        found = find(
            lambda high: track(reader.read(until=high), high),
            question,
            first=first,
            last=end,
            by=by,
            every=every,
        )
    if as_json:
        print_json(_as_data(found))
    else:
        _show(found)


def _question(
    reader: "SqliteReader", request_id: str | None, model: str | None, provider: str | None, objective: str
) -> tuple["RouteQuestion", int | None]:
    """Return what is asked, and the position at which the recorded request asked it."""
    from apikeyrouter.application.audit import trail
    from apikeyrouter.application.replay import question_of
    from apikeyrouter.domain.events import RequestFacts, RouteDecided, RouteRefused
    from apikeyrouter.domain.models.system_error import NotFoundError
    from apikeyrouter.domain.objectives import policy_of
    from apikeyrouter.domain.questions import RouteQuestion

    if request_id is None:
        facts = RequestFacts(operation="chat", model=model or "", provider_id=provider)
        policy = policy_of(objective)
        return RouteQuestion(facts=facts, policy=policy, attempt=1, tried=(), at_us=0, seed=0), None
    events = (recorded.event for recorded in trail(reader, request_id).events)
    decision = next((one for one in events if isinstance(one, RouteDecided | RouteRefused)), None)
    if decision is None:
        raise NotFoundError(f"request {request_id[:64]} never came to a decision", param="request_id")
    return question_of(decision), max(decision.as_of, 1)


def _as_data(found: "Bisection") -> dict[str, Any]:
    import msgspec

    from apikeyrouter.application.audit import event_as_data
    from apikeyrouter.domain.explanation import consequence, explain

    told = {name: getattr(found, name) for name in ("first", "last", "asked", "passes", "now")}
    turn = found.turn
    if turn is None:
        return {**told, "turn": None}
    return {
        **told,
        "turn": {
            "event": event_as_data(turn.event),
            "explanation": consequence(turn.event.event),
            "before": {"explanation": explain(turn.before), "decision": msgspec.to_builtins(turn.before)},
            "after": {"explanation": explain(turn.after), "decision": msgspec.to_builtins(turn.after)},
        },
    }


def _show(found: "Bisection") -> None:
    from apikeyrouter.interfaces.cli.events import show_events

    page, told = console(), _as_data(found)
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

"""`apikeyrouter retention hold`: what must stay in the log, whatever its age."""

from datetime import datetime
from typing import Annotated, Any

import typer
from rich.markup import escape

from apikeyrouter.interfaces.cli.options import AsJson, Database
from apikeyrouter.interfaces.cli.screen import console, print_json, print_whole, table

app = typer.Typer(help="Place, release and list legal holds.", no_args_is_help=True)

Why = Annotated[str, typer.Option(metavar="TEXT", help="Why; it stands in the log.")]


@app.command(
    epilog="Examples: apikeyrouter retention hold place --client acme --reason 'case 17' ·"
    " apikeyrouter retention hold place --since 2026-01-01 --until 2026-04-01 --reason audit"
)
def place(
    reason: Why,
    client: Annotated[str | None, typer.Option(help="All of this client.")] = None,
    subject: Annotated[str | None, typer.Option(help="All of a person, by the pseudonym in events.")] = None,
    request: Annotated[str | None, typer.Option(metavar="REQUEST_ID", help="This request.")] = None,
    everything: Annotated[bool, typer.Option("--everything", help="Whatever there is.")] = False,
    since: Annotated[datetime | None, typer.Option(help="Only from this time on (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option(help="Only before this time (UTC).")] = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Hold what a scope covers: it neither leaves the log nor is erased. A period alone is a scope too."""
    from apikeyrouter.interfaces.cli.management import manage_existing

    named = {"client": client, "subject": subject, "request": request}
    given: list[tuple[str, str | None]] = [(scope, name) for scope, name in named.items() if name is not None]
    given += [("everything", None)] if everything else []
    if len(given) > 1 or not (given or since or until):
        raise typer.BadParameter(
            "give one of --client, --subject, --request and --everything, or a period", param_hint="SCOPE"
        )
    scope, name = given[0] if given else ("period", None)
    asked = {
        "scope": scope,
        "scope_id": name,
        "since": None if since is None else since.isoformat(),
        "until": None if until is None else until.isoformat(),
        "reason": reason,
    }
    told = manage_existing(database, lambda api: api.ask("POST", "/retention/holds", asked))
    if as_json:
        print_json(told)
        return
    page = console()
    page.print(f"Held: {_covered(told)}, as hold {told['hold_id']}", soft_wrap=True, markup=False)
    if told["left_before"]:
        names = ", ".join(told["left_before"])
        page.print(f"[yellow]Of that time requests have left the log before: keep {names}[/]", soft_wrap=True)


@app.command(epilog="Example: apikeyrouter retention hold release HOLD_ID --reason 'case closed'")
def release(
    hold_id: Annotated[str, typer.Argument(metavar="HOLD_ID", help="The id, as `hold list` shows it.")],
    reason: Why,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """End a hold; what it covered may go again."""
    from apikeyrouter.interfaces.cli.management import manage_existing

    told = manage_existing(
        database, lambda api: api.ask("POST", f"/retention/holds/{hold_id}/release", {"reason": reason})
    )
    if as_json:
        print_json(told)
    else:
        console().print(f"Released: {_covered(told)}", soft_wrap=True, markup=False)


@app.command("list", epilog="Example: apikeyrouter retention hold list")
def list_holds(database: Database = None, as_json: AsJson = False) -> None:
    """List the holds in force."""
    from apikeyrouter.interfaces.cli.log_access import folded, open_reader
    from apikeyrouter.interfaces.retention_views import hold_view

    told = [hold_view(hold) for hold in folded(open_reader(database)).holds.by_id.values()]
    if as_json:
        print_json(told)
    elif told:
        show_holds(told)
    else:
        console().print("No hold is in force.")


def show_holds(holds: list[dict[str, Any]]) -> None:
    """Print holds, one a line."""
    shown = table("hold", "covers", "reason", "by", "since")
    for one in holds:
        covers, why = escape(_covered(one)), escape(one["reason"])
        shown.add_row(one["hold_id"], covers, why, one["actor"], one["placed"])
    print_whole(console(), shown)


def _covered(hold: dict[str, Any]) -> str:
    named = hold["scope"] if hold["scope_id"] is None else f"{hold['scope']} {hold['scope_id']}"
    ends = (("from", hold["since"]), ("before", hold["until"]))
    return " ".join([named, *(f"{word} {at}" for word, at in ends if at)])

"""`apikeyrouter budgets`: bound what may be spent, and see what is left, who changed it, and who was told."""

from typing import Annotated, Any

import typer

from apikeyrouter.interfaces.cli.options import AsJson, Database
from apikeyrouter.interfaces.cli.screen import console, print_json

app = typer.Typer(help="Bound what may be spent, and see what is left.", no_args_is_help=True)

MOST_EVENTS = 20

BudgetId = Annotated[str, typer.Argument(metavar="BUDGET_ID", help="The id, as `budgets list` shows it.")]
Period = Annotated[
    str | None,
    typer.Option(metavar="PERIOD", help="hourly, daily, weekly, monthly, custom (--seconds) or total."),
]
Mode = Annotated[
    str | None,
    typer.Option(metavar="MODE", help="hard refuses what does not fit, soft only tells. Default: hard."),
]
Rolling = Annotated[
    bool | None,
    typer.Option("--rolling/--fixed", help="The period ends now, or follows the calendar. Default: fixed."),
]
Seconds = Annotated[int | None, typer.Option(help="The length of a custom period.")]
Zone = Annotated[
    str | None, typer.Option("--timezone", metavar="ZONE", help="Where days begin, as in Europe/Berlin.")
]
Alerts = Annotated[
    list[int] | None,
    typer.Option(
        "--alert", metavar="PERCENT", help="Tell when so much is spent; repeat for more. Default: 80 and 100."
    ),
]
NoAlerts = Annotated[bool, typer.Option("--no-alerts", help="Tell nobody.")]
Downgrade = Annotated[
    bool | None,
    typer.Option("--downgrade/--no-downgrade", help="Prefer cheaper models where money runs short."),
]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Why; it stands in the log.")]


@app.command("list", epilog="Example: apikeyrouter budgets list --scope team")
def list_budgets(
    scope: Annotated[str | None, typer.Option(help="Only budgets of this scope, such as team.")] = None,
    scope_id: Annotated[str | None, typer.Option("--id", help="Only those of this one.")] = None,
    closed: Annotated[bool, typer.Option("--closed", help="Also those that are closed.")] = False,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """List the budgets: limit, spent, reserved for calls under way, left, and when a new period begins."""
    from apikeyrouter.interfaces.cli.budget_tables import show_budgets

    listed = [
        budget
        for budget in _read_budgets(database)
        if (closed or not budget["closed"])
        and scope in {None, budget["scope"]}
        and scope_id in {None, budget["scope_id"]}
    ]
    if as_json:
        print_json(listed)
    elif listed:
        show_budgets(listed)
    else:
        console().print("No such budget. Open one with: apikeyrouter budgets create LIMIT --period monthly")


@app.command(epilog="Example: apikeyrouter budgets show 019ab3c4d5e67f8090a1b2c3d4e5f607")
def show(
    budget_id: BudgetId,
    events: Annotated[int, typer.Option(min=1, help="So many of its latest events.")] = MOST_EVENTS,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Show one budget, the latest changes of it with their authors, and the alerts."""
    from apikeyrouter.application.audit import event_as_data
    from apikeyrouter.domain.events import budget_stream
    from apikeyrouter.domain.models.system_error import NotFoundError
    from apikeyrouter.interfaces.cli.budget_tables import show_budget, show_history
    from apikeyrouter.interfaces.cli.log_access import open_reader

    found = [budget for budget in _read_budgets(database) if budget["id"] == budget_id]
    if not found:
        raise NotFoundError(f"no budget has the id {budget_id[:64]!r}", param="budget_id")
    recorded = open_reader(database).stream(budget_stream(budget_id))
    told = [event_as_data(one) for one in recorded[-events:]]
    if as_json:
        print_json({**found[0], "events": told})
        return
    show_budget(found[0])
    show_history(told, left_out=len(recorded) - len(told))


@app.command(
    epilog="Examples: apikeyrouter budgets create 250 --scope team --id research --period monthly ·"
    " apikeyrouter budgets create 5 --period daily --mode soft --alert 50"
)
def create(
    limit: Annotated[str, typer.Argument(metavar="LIMIT", help="US dollars a period, such as 12.50.")],
    period: Period = None,
    scope: Annotated[
        str,
        typer.Option(help="global, provider, key, client, team, model, tag or route: whose spending."),
    ] = "global",
    scope_id: Annotated[
        str | None, typer.Option("--id", help="Which provider, key, client, …; none for global.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    mode: Mode = None,
    rolling: Rolling = None,
    seconds: Seconds = None,
    timezone: Zone = None,
    alert: Alerts = None,
    no_alerts: NoAlerts = False,
    downgrade: Downgrade = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Bound what a scope may spend from now on; what was spent before does not count."""
    from apikeyrouter.interfaces.cli.management import manage

    if period is None:
        raise typer.BadParameter(
            "say how long the limit lasts, such as --period monthly", param_hint="--period"
        )
    terms = _terms(
        limit=limit,
        period=period,
        enforcement_mode=mode,
        rolling=rolling,
        seconds=seconds,
        timezone=timezone,
        alerts_percent=_alerts(alert, none=no_alerts),
        downgrade=downgrade,
    )
    new = {"scope": scope, "scope_id": scope_id, "name": name, **terms}
    _tell(manage(database, lambda api: api.ask("POST", "/budgets", new)), "opened", as_json=as_json)


@app.command(
    "set", epilog="Example: apikeyrouter budgets set BUDGET_ID --limit 400 --reason 'two more people'"
)
def set_terms(
    budget_id: BudgetId,
    limit: Annotated[str | None, typer.Option(metavar="USD", help="US dollars a period.")] = None,
    period: Period = None,
    mode: Mode = None,
    rolling: Rolling = None,
    seconds: Seconds = None,
    timezone: Zone = None,
    alert: Alerts = None,
    no_alerts: NoAlerts = False,
    downgrade: Downgrade = None,
    reason: Reason = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Change a budget's terms; what is not named stays, and what is spent stays spent."""
    terms = _terms(
        limit=limit,
        period=period,
        enforcement_mode=mode,
        rolling=rolling,
        seconds=seconds,
        timezone=timezone,
        alerts_percent=_alerts(alert, none=no_alerts),
        downgrade=downgrade,
    )
    if not terms:
        raise typer.BadParameter("say what is to be changed, such as --limit 400", param_hint="--limit")
    body = {**terms, "reason": reason}
    _tell(_change(database, budget_id, "", body, method="PATCH"), "changed", as_json=as_json)


@app.command("top-up", epilog="Example: apikeyrouter budgets top-up BUDGET_ID 50 --reason 'the demo'")
def top_up(
    budget_id: BudgetId,
    amount: Annotated[str, typer.Argument(metavar="USD", help="US dollars beside the limit.")],
    reason: Reason = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Let more be spent until the present period ends; the limit of the next one stays what it is."""
    body = {"amount": amount, "reason": reason}
    _tell(_change(database, budget_id, "top-up", body), "topped up", as_json=as_json)


@app.command(epilog="Example: apikeyrouter budgets close BUDGET_ID --yes --reason 'the project is over'")
def close(
    budget_id: BudgetId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    reason: Reason = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Bound nothing any more by a budget, for ever; its history stays."""
    if not yes:
        typer.confirm(
            f"Close budget {budget_id} for ever? It will bound nothing any more.", abort=True, err=True
        )
    _tell(_change(database, budget_id, "close", {"reason": reason}), "closed", as_json=as_json)


def _terms(**named: Any) -> dict[str, Any]:
    return {name: value for name, value in named.items() if value is not None}


def _alerts(percent: list[int] | None, *, none: bool) -> list[int] | None:
    if none and percent:
        raise typer.BadParameter("give --alert or --no-alerts, and not both", param_hint="--alert")
    return [] if none else percent or None


def _change(
    database: str | None, budget_id: str, act: str, body: dict[str, Any], *, method: str = "POST"
) -> dict[str, Any]:
    from urllib.parse import quote

    from apikeyrouter.interfaces.cli.management import manage

    path = f"/budgets/{quote(budget_id, safe='')}/{act}".rstrip("/")
    changed: dict[str, Any] = manage(database, lambda api: api.ask(method, path, body))
    return changed


def _read_budgets(database: str | None) -> list[dict[str, Any]]:
    from apikeyrouter.adapters.ambient import SystemClock
    from apikeyrouter.interfaces.budget_standing import budget_standing
    from apikeyrouter.interfaces.cli.log_access import folded, open_reader

    state, now_us = folded(open_reader(database)), SystemClock().now_us()
    return [budget_standing(state, budget, now_us).model_dump(mode="json") for budget in state.budgets.by_row]


def _tell(budget: dict[str, Any], done: str, *, as_json: bool) -> None:
    from apikeyrouter.interfaces.cli.budget_tables import show_budget

    if as_json:
        print_json(budget)
        return
    console().print(f"Budget {budget['id']} {done}.", soft_wrap=True)
    show_budget(budget)

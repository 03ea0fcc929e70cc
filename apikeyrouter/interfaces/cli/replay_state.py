"""`apikeyrouter replay state`: how everything stood at a position or at an instant."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apikeyrouter.interfaces.cli.options import AsJson, Database
from apikeyrouter.interfaces.cli.screen import console, print_json, table

if TYPE_CHECKING:
    from apikeyrouter.domain.state import RouterState

COLUMNS = {
    "keys": ("id", "provider_id", "state", "state_until", "in_flight", "on_trial", "pinned"),
    "quotas": ("account_id", "limit", "settled", "reserved", "remaining", "capacity_state"),
    "forecasts": ("account_id", "remaining", "probability", "exhausted_at", "capacity_state", "uncertainty"),
    "budgets": ("id", "scope", "scope_id", "limit", "spent", "reserved", "remaining", "resets_at"),
    "providers": ("provider_id", "health", "health_until", "kind", "base_url"),
    "requests": ("request_id", "version", "attempt", "calling", "model", "holds"),
}
"""What of each part fits on a page; the rest is for --json."""

At = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="POSITION|TIME",
        help="A position of the log, or a time as in 2026-03-01T12:00:00Z.",
        show_default="the end",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Examples: apikeyrouter replay state --at 1200 --scope keys ·"
        " apikeyrouter replay state --at 2026-03-01T12:00:00Z --scope candidates --model gpt-4o"
    )(state)


def state(
    at: At = None,
    scope: Annotated[
        str,
        typer.Option(
            help="summary, keys, quotas, forecasts, budgets, providers, prices, requests or candidates."
        ),
    ] = "summary",
    model: Annotated[str | None, typer.Option(help="For candidates: the model asked for.")] = None,
    provider: Annotated[str | None, typer.Option(help="For candidates: only this provider.")] = None,
    objective: Annotated[str, typer.Option(help="For candidates: the objective.")] = "fairness",
    input_tokens: Annotated[int, typer.Option(min=0, help="For candidates: at most so much input.")] = 0,
    output_tokens: Annotated[int, typer.Option(min=0, help="For candidates: at most so much output.")] = 0,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Show keys, quotas, forecasts, providers, prices, open requests or candidates as they stood."""
    from apikeyrouter.interfaces.state_views import CANDIDATES, state_view

    past = _folded(database, at)
    if scope == CANDIDATES:
        told = _candidates(past, model, provider, objective, input_tokens, output_tokens)
    else:
        told = state_view(past, scope)
    if as_json:
        print_json(told)
    else:
        _show(told)


def _folded(database: str | None, at: str | None) -> "RouterState":
    from apikeyrouter.application.as_of import moment_of, state_at
    from apikeyrouter.interfaces.cli.log_access import folded, open_reader, open_whole_log, snapshots_of

    reader = open_reader(database)
    if at is None:
        return folded(reader)
    return state_at(open_whole_log(database), moment_of(at), snapshots_of(reader))


def _candidates(
    past: "RouterState",
    model: str | None,
    provider: str | None,
    objective: str,
    input_tokens: int,
    output_tokens: int,
) -> dict[str, Any]:
    from apikeyrouter.domain.events import RequestFacts
    from apikeyrouter.domain.objectives import policy_of
    from apikeyrouter.interfaces.state_views import candidates_view

    if model is None:
        raise typer.BadParameter("candidates are those for a model", param_hint="--model")
    facts = RequestFacts(
        operation="chat",
        model=model,
        provider_id=provider,
        input_tokens_bound=input_tokens,
        output_tokens_bound=output_tokens,
    )
    return candidates_view(past, facts, policy_of(objective))


def _show(told: dict[str, Any]) -> None:
    page, shown = console(), told[told["scope"]]
    page.print(f"[bold]{told['scope']}[/] [dim]as of position {told['position']:,}, {told['at']}[/]")
    if isinstance(shown, dict):
        for name, value in shown.items():
            page.print(f"  {name}: {_cell(value)}", markup=False, soft_wrap=True)
    elif shown:
        names = COLUMNS[told["scope"]]
        rows = table(*names)
        for column in rows.columns:
            column.overflow = "fold"
        for row in shown:
            rows.add_row(*(_cell(row[name]) for name in names))
        page.print(rows)
    else:
        page.print("  none")


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

"""`apikeyrouter what-if`: a stretch of history run again under a change."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from apikeyrouter.interfaces.cli.options import AsJson, Database, Workers
from apikeyrouter.interfaces.cli.screen import console, milliseconds, print_json, table, usd

if TYPE_CHECKING:
    from apikeyrouter.application.what_if import Change, Comparison, Stretch

MOST_CHOICES = 12
SHOWN = {
    "completed": "completed",
    "refused": "refused",
    "failed": "failed",
    "cancelled": "client left",
    "deferrals": "waited",
    "failed_attempts": "failed calls",
    "rate_limited": "… of them 429",
    "throttled": "keys throttled",
    "exhausted": "keys exhausted",
    "providers_down": "providers down",
    "input_tokens": "input tokens",
    "output_tokens": "output tokens",
}


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "what-if",
        epilog="Examples: apikeyrouter what-if --objective cost · apikeyrouter what-if --remove KEY_ID"
        " --limit rpm=100 · apikeyrouter what-if --add openai:rpm=500 --price openai/gpt-4o=2,8",
    )(what_if)


def what_if(
    objective: Annotated[
        str | None, typer.Option(help="Route every request by this objective: a name, or JSON.")
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option(metavar="KEY_ID", help="Without this key; repeat.")
    ] = None,
    add: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PROVIDER[:NAME=VALUE,…]", help="With one more key, such as openai:rpm=500; repeat."
        ),
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[KEY_ID@]NAME=VALUE",
            help="Declared otherwise, of one key or of all: rpm=100, weight=2; NAME= lifts it; repeat.",
        ),
    ] = None,
    price: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PROVIDER/MODEL=IN,OUT", help="Other prices, US dollars per million tokens; repeat."
        ),
    ] = None,
    budget: Annotated[
        list[str] | None, typer.Option(metavar="BUDGET_ID=USD", help="Another limit of a budget; repeat.")
    ] = None,
    book: Annotated[bool, typer.Option("--book", help="With the prices of the installed package.")] = False,
    first: Annotated[
        int, typer.Option("--from", min=1, metavar="POSITION", help="From this position on.")
    ] = 1,
    last: Annotated[
        int | None,
        typer.Option("--to", min=1, metavar="POSITION", help="Up to here.", show_default="the end"),
    ] = None,
    draws: Annotated[
        int,
        typer.Option(
            min=0,
            max=50,
            help="So many runs that draw what is not known, beside one in which keys serve what they may.",
        ),
    ] = 5,
    queue_timeout: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long requests may wait where none waited.")
    ] = 0.0,
    max_attempts: Annotated[int, typer.Option(min=1, help="Calls that one request may make.")] = 10,
    workers: Workers = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Run history again under a change, and compare: cost, refusals, throttles, who serves.

    Quotas and the health of keys develop as they would have. Where a call was made to the same key, its
    recorded outcome counts; any other is drawn from what was known of its key by then. Without a change,
    history comes out again, to the byte.
    """
    from apikeyrouter.application.what_if import Stretch
    from apikeyrouter.interfaces.what_if_views import comparison_view

    change = _change(objective, remove, add, limit, price, budget, book)
    wait_us = int(queue_timeout * 1_000_000)
    stretch = Stretch(first=first, last=last, draws=draws, most_attempts=max_attempts, wait_us=wait_us)
    told = comparison_view(_compared(database, change, stretch, workers))
    if as_json:
        print_json(told)
    else:
        _show(told)


def _compared(
    database: str | None, change: "Change", stretch: "Stretch", workers: int | None
) -> "Comparison":
    from apikeyrouter.adapters.workers.processes import processors
    from apikeyrouter.adapters.workers.what_ifs import what_if_in_processes, worth_sharing
    from apikeyrouter.application.retention.gaps import refuse_cut
    from apikeyrouter.application.what_if import seeds_of
    from apikeyrouter.application.what_if import what_if as run_again
    from apikeyrouter.application.what_if.scripts import MOST_AHEAD
    from apikeyrouter.interfaces.cli.log_access import open_reader, open_whole_log
    from apikeyrouter.interfaces.cli.passing import passing, progress

    reader = open_reader(database)
    end = reader.head() if stretch.last is None else min(stretch.last + MOST_AHEAD, reader.head())
    log = open_whole_log(database)
    refuse_cut(log, stretch.first, end if stretch.last is None else min(stretch.last, end))
    shared_by = workers or worth_sharing(end, len(seeds_of(change, stretch)), processors())
    if shared_by == 1:
        with progress("running again") as track:
            return run_again(track(log.read(until=end, as_of=stretch.first), end), change, stretch)
    with passing("running again", end) as passed:
        return what_if_in_processes(reader.path, end, change, stretch, workers=shared_by, passed=passed)


def _change(
    objective: str | None,
    remove: list[str] | None,
    add: list[str] | None,
    limit: list[str] | None,
    price: list[str] | None,
    budget: list[str] | None,
    book: bool,
) -> "Change":
    import json

    from apikeyrouter.interfaces.what_if_views import change_of

    packaged = None
    if book:
        from apikeyrouter.adapters.prices.genai_book import packaged_book

        packaged = packaged_book()
    explicit = objective is not None and objective.lstrip().startswith("{")
    return change_of(
        objective=json.loads(objective) if explicit and objective is not None else objective,
        removed=remove or (),
        added=add or (),
        limits=limit or (),
        prices=price or (),
        budgets=budget or (),
        book=packaged,
    )


def _show(told: dict[str, Any]) -> None:
    page = console()
    page.print(f"{told['requests']:,} requests in {told['events']:,} events, runs: {told['runs']}")
    if told["identical"]:
        page.print(
            "[green]✓[/] Everything comes out as it was, to the byte: nothing that was changed mattered"
        )
        return
    first = told["first_difference"]
    page.print(f"[dim]The first difference is at position {first['position']:,}.[/]\n")
    _show_figures(told)
    _show_shares(told)
    changed = told["changed_choices"]
    page.print(f"\nFirst choices that change: {_spread(changed, str)} of {told['requests']:,}")
    shown = table("before", "after", ">requests")
    for one in told["choices"][:MOST_CHOICES]:
        shown.add_row(one["before"], one["after"], f"{one['requests']:,}")
    page.print(shown)
    _show_basis(told["outcomes"])


def _show_figures(told: dict[str, Any]) -> None:
    shown = table("", ">before", ">after", "range over the runs")
    figures = told["figures"]
    cost = figures["cost_nano_usd"]
    shown.add_row(
        "cost", usd(cost["before"]), usd(cost["after"]), f"{usd(cost['low'])} to {usd(cost['high'])}"
    )
    for name, heading in SHOWN.items():
        one = figures[name]
        if one["before"] or one["high"]:
            shown.add_row(
                heading, f"{one['before']:,}", f"{one['after']:,}", f"{one['low']:,} to {one['high']:,}"
            )
    mean = figures["mean_elapsed_us"]
    if mean["before"] is not None and mean["after"] is not None:
        spread = f"{milliseconds(mean['low'])} to {milliseconds(mean['high'])}"
        shown.add_row("mean time", milliseconds(mean["before"]), milliseconds(mean["after"]), spread)
    console().print(shown)
    if figures["unpriced"]["before"] or figures["unpriced"]["high"]:
        console().print(
            f"[yellow]The cost of {figures['unpriced']['before']:,} requests before, and of"
            f" {figures['unpriced']['after']:,} after, is unknown: no price is known.[/]"
        )


def _show_shares(told: dict[str, Any]) -> None:
    for part in ("providers", "keys"):
        shown = table(
            part, ">served before", ">after", ">cost before", ">after", ">failed calls before", ">after"
        )
        for one in told[part]:
            completed, cost, failed = one["completed"], one["cost_nano_usd"], one["failed_attempts"]
            shown.add_row(
                one["id"],
                f"{completed['before']:,}",
                f"{completed['after']:,}",
                usd(cost["before"]),
                usd(cost["after"]),
                f"{failed['before']:,}",
                f"{failed['after']:,}",
            )
        console().print()
        console().print(shown)


def _show_basis(outcomes: dict[str, Any]) -> None:
    total = sum(one["after"] for one in outcomes.values()) or 1
    console().print(
        f"\nOf the calls, {outcomes['recorded']['after'] / total:.0%} end as recorded,"
        f" {outcomes['modelled']['after'] / total:.0%} by what was known of their key, and of"
        f" {outcomes['unknown']['after'] / total:.0%} the outcome is unknown: nothing was known of the key,"
        " or the request was never answered."
    )


def _spread(one: dict[str, Any], written: Any) -> str:
    if one["low"] == one["high"]:
        return str(written(one["after"]))
    return f"{written(one['after'])} ({written(one['low'])} to {written(one['high'])})"

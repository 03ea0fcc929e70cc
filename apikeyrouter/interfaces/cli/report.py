"""`apikeyrouter report`: what was spent, used, refused and changed, each number with the events behind it."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from apikeyrouter.interfaces.cli.options import AsJson, Database
from apikeyrouter.interfaces.cli.refusing import REFUSED
from apikeyrouter.interfaces.cli.report_options import (
    After,
    Begin,
    By,
    Conditions,
    End,
    Form,
    Last,
    Limit,
    Output,
    Reports,
    Zone,
    answered,
    asked,
    report_desk,
)
from apikeyrouter.interfaces.cli.report_tables import put, show_trace
from apikeyrouter.interfaces.cli.screen import console, print_json, table

app = typer.Typer(
    help="Report what was spent, used, refused and changed; every number can be asked for its events.",
    no_args_is_help=True,
)

COMMANDS = {
    "spend": (
        "What was spent, by client, team, model, provider, key, day or tag.",
        "--by day,client --last 30d",
    ),
    "usage": ("Who used which provider, model and key.", "--by client,key --from 2026-03 --to 2026-03"),
    "completeness": (
        "All calls of a key, by the state that each is in.",
        "--where key=KEY_ID --from 2026-03",
    ),
    "sla": ("Successes, latencies and failovers.", "--by provider,model --last 7d --tz Europe/Berlin"),
    "refusals": ("Every refused request, and why.", "--by position,at,reason,client --last 24h"),
    "admin": ("Every change by an administrator.", "--where actor=command-line"),
    "keys": ("The life of keys, with the evidence of each change.", "--where key=KEY_ID"),
    "providers": ("When providers were down.", "--last 30d"),
    "quotas": ("What calls reserved of quotas.", "--last 24h"),
    "limits": ("What was learned of limits.", "--last 30d"),
    "budgets": ("What became of budgets, and their alerts.", "--last 30d"),
    "leases": ("How windows of budgets were shared out to nodes.", "--where account=budget-BUDGET_ID"),
    "access": ("Which process held the log, and who read kept bodies.", "--last 30d"),
    "payloads": ("What became of kept bodies.", "--where client=acme --by position,at,change,actor"),
    "segments": ("What was archived and dropped from the log.", "--last 400d"),
    "forecast": ("How well it was foreseen that quotas run out.", "--json"),
}


def _command(name: str) -> Callable[..., None]:
    def ask(
        by: By = None,
        where: Conditions = None,
        begin: Begin = None,
        end: End = None,
        last: Last = None,
        zone: Zone = "UTC",
        limit: Limit = 1000,
        form: Form = None,
        output: Output = None,
        reports: Reports = None,
        database: Database = None,
        as_json: AsJson = False,
    ) -> None:
        question = asked(name, by, where, (begin, end, last), zone, limit)
        put(answered(question, database, reports), "json" if as_json else form, output)

    return ask


for _name, (_about, _example) in COMMANDS.items():
    app.command(_name, help=_about, epilog=f"Example: apikeyrouter report {_name} {_example}")(
        _command(_name)
    )


@app.command(
    epilog="Example: apikeyrouter report trace spend --where client=acme --from 2026-03 --to 2026-03"
)
def trace(
    report: Annotated[str, typer.Argument(metavar="REPORT", help="The report that the number is from.")],
    where: Conditions = None,
    begin: Begin = None,
    end: End = None,
    last: Last = None,
    zone: Zone = "UTC",
    limit: Limit = 1000,
    after: After = 0,
    reports: Reports = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """List the events behind a number: those of the rows that meet the conditions, in order."""
    question = asked(report, None, where, (begin, end, last), zone, limit)
    import msgspec

    desk = report_desk(database, reports)
    found = desk.trace(question, after=after)
    if as_json:
        print_json(msgspec.structs.asdict(found))
    else:
        show_trace(found)


@app.command(epilog="Example: apikeyrouter report rebuild --check")
def rebuild(
    check: Annotated[
        bool, typer.Option("--check", help="Compare the contents with what there was; exit 1 if they differ.")
    ] = False,
    reports: Reports = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Make all read models anew from the log; the old ones are replaced when the new are whole."""
    desk = report_desk(database, reports)
    before = desk.fingerprints() if check else None
    position = desk.rebuild()
    after = desk.fingerprints()
    told: dict[str, Any] = {"position": position, "sha256": after}
    if before is not None:
        told["identical"] = before == after
    if as_json:
        print_json(told)
    else:
        _show_rebuilt(told, before or {})
    if before is not None and before != after:
        raise typer.Exit(REFUSED)


@app.command(epilog="Example: apikeyrouter report status --hash")
def status(
    hashes: Annotated[
        bool, typer.Option("--hash", help="Catch up, and tell a SHA-256 of the contents of each.")
    ] = False,
    reports: Reports = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Tell where each read model stands, as it is now."""
    desk = report_desk(database, reports)
    contents = desk.fingerprints() if hashes else {}
    told = [
        {"read_model": name, "position": one.position, "sha256": contents.get(name)}
        for name, one in desk.standings().items()
    ]
    if as_json:
        print_json(told)
        return
    shown = table("read model", ">position", *(["sha256"] if hashes else []))
    for one in told:
        shown.add_row(*(str(value) for value in one.values() if value is not None))
    console().print(shown)


@app.command(
    epilog="Example: apikeyrouter report copy ./reports-copy.db, and then: datasette ./reports-copy.db"
)
def copy(
    target: Annotated[Path, typer.Argument(metavar="PATH", help="A file that does not exist yet.")],
    reports: Reports = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Write a copy of the read models for other programs: sqlite-utils, Datasette, DuckDB, a notebook."""
    desk = report_desk(database, reports)
    desk.copy(target)
    told = {"path": str(target), "bytes": target.stat().st_size}
    if as_json:
        print_json(told)
    else:
        console().print(f"{target}: {told['bytes']:,} bytes", soft_wrap=True)


@app.command(
    epilog='Example: apikeyrouter report sql "SELECT state, count(*) FROM requests_told GROUP BY state"'
)
def sql(
    query: Annotated[str, typer.Argument(metavar="SQL", help="What to select.")],
    limit: Limit = 1000,
    reports: Reports = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Ask the read models in SQL; nothing but reading them is possible."""
    desk = report_desk(database, reports)
    names, rows = desk.select(query, limit)
    if as_json:
        print_json([dict(zip(names, row, strict=True)) for row in rows])
        return
    shown = table(*names)
    for row in rows:
        shown.add_row(*("" if value is None else str(value) for value in row))
    console().print(shown)


def _show_rebuilt(told: dict[str, Any], before: dict[str, str]) -> None:
    page = console()
    shown = table("read model", "sha256", *(["as before"] if before else []))
    for name, contents in told["sha256"].items():
        same = ["yes" if before[name] == contents else "[red]NO[/]"] if before else []
        shown.add_row(name, contents, *same)
    page.print(shown)
    page.print(f"made anew from {told['position']:,} events")

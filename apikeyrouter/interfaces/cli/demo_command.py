"""`apikeyrouter demo`: everything in half a minute, without keys and without network."""

from pathlib import Path
from typing import Annotated

import typer

from apikeyrouter.interfaces.cli.options import AsJson


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: apikeyrouter demo --seconds 10 --once")(demo)


def demo(
    requests: Annotated[int, typer.Option(min=1, max=100_000, help="How many requests are sent.")] = 400,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="In how much time.")] = 20.0,
    seed: Annotated[int, typer.Option(min=0, help="Another seed makes another day.")] = 1,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Default: 8000, else a free one.")
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Play a recorded trace (CSV) instead.")
    ] = None,
    database: Annotated[
        Path | None, typer.Option("--database", "-d", help="Keep the log in this new file.", dir_okay=False)
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="End by itself instead of staying up.")] = False,
    as_json: AsJson = False,
) -> None:
    """Watch the router at work: eight keys, two providers that fail in the usual ways, real traffic."""
    from apikeyrouter.interfaces.demo.run import Plan, run

    plan = Plan(
        requests=requests,
        seconds=seconds,
        seed=seed,
        port=port,
        trace=trace,
        database=database,
        once=once,
        as_json=as_json,
    )
    run(plan)

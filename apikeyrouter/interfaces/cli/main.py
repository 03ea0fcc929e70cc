"""The command line: one file a group of commands, and nothing heavy imported before a command runs."""

from typing import Annotated

import typer

from apikeyrouter.interfaces.cli import (
    budgets,
    demo_command,
    doctor,
    estimates,
    events,
    explain,
    forecast,
    keys,
    models,
    payloads,
    prices,
    proof,
    providers,
    quotas,
    replay,
    report,
    retention,
    serve,
    verify,
    what_if,
    witness,
)
from apikeyrouter.interfaces.cli.refusing import RefusingGroup

app = typer.Typer(
    cls=RefusingGroup,
    help="Route requests over many API keys; every decision explained, every step recorded.",
    epilog="Start here: [bold]apikeyrouter demo[/bold] shows it in half a minute, without keys or network.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(version("apikeyrouter-core"))
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


demo_command.add_to(app)
serve.add_to(app)
app.add_typer(keys.app, name="keys")
app.add_typer(providers.app, name="providers")
app.add_typer(prices.app, name="prices")
app.add_typer(models.app, name="models")
app.add_typer(budgets.app, name="budgets")
app.add_typer(payloads.app, name="payloads")
estimates.add_to(app)
app.add_typer(estimates.app, name="estimates")
explain.add_to(app)
events.add_to(app)
verify.add_to(app)
app.add_typer(proof.app, name="proof")
app.add_typer(witness.app, name="witness")
app.add_typer(replay.app, name="replay")
app.add_typer(report.app, name="report")
app.add_typer(retention.app, name="retention")
what_if.add_to(app)
quotas.add_to(forecast.app)
app.add_typer(forecast.app, name="forecast", cls=quotas.ShowingGroup, help=quotas.HELP)
doctor.add_to(app)


def main() -> None:
    """Run the command line; the entry point of the distribution."""
    app(prog_name="apikeyrouter")

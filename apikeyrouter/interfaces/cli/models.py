"""`apikeyrouter models`: the models that providers list, and which may stand in for which."""

from typing import Annotated, Any

import typer

from apikeyrouter.interfaces.cli.options import AsJson, Database
from apikeyrouter.interfaces.cli.screen import console, print_json, table

app = typer.Typer(help="See models, and say which may stand in for which.", no_args_is_help=True)

Model = Annotated[str, typer.Argument(metavar="MODEL", help="What requests call the model.")]


@app.command("list", epilog="Example: apikeyrouter models list")
def list_models(database: Database = None, as_json: AsJson = False) -> None:
    """List the models that providers list, and what may serve requests for them."""
    from apikeyrouter.interfaces.cli.log_access import folded, open_reader
    from apikeyrouter.interfaces.model_views import models_view

    told = models_view(folded(open_reader(database)))
    if as_json:
        print_json(told)
    elif told:
        _show(told)
    else:
        console().print(
            "No provider lists a model: each may serve any. List some with: apikeyrouter providers add"
        )


@app.command(
    epilog="Examples: apikeyrouter models equate gpt-4o --equal gpt-4o-2024-11-20 ·"
    " apikeyrouter models equate gpt-4o --cheaper gpt-4o-mini"
)
def equate(
    model: Model,
    equal: Annotated[
        list[str] | None, typer.Option(metavar="OTHER", help="May serve it at any time; repeat for more.")
    ] = None,
    cheaper: Annotated[
        list[str] | None, typer.Option(metavar="OTHER", help="May serve it where a downgrade is allowed.")
    ] = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Say what may serve requests for a model; it replaces what was said of that model before."""
    from apikeyrouter.interfaces.cli.management import manage

    if not equal and not cheaper:
        raise typer.BadParameter("name models with --equal or --cheaper", param_hint="--equal")
    body = {"model": model, "equivalents": equal or [], "cheaper": cheaper or []}
    _tell(manage(database, lambda api: api.ask("POST", "/models/equivalents", body)), as_json=as_json)


@app.command(epilog="Example: apikeyrouter models unequate gpt-4o")
def unequate(model: Model, database: Database = None, as_json: AsJson = False) -> None:
    """Let only the model itself serve requests for it again."""
    from urllib.parse import quote

    from apikeyrouter.interfaces.cli.management import manage

    path = f"/models/equivalents?model={quote(model, safe='')}"
    _tell(manage(database, lambda api: api.ask("DELETE", path)), as_json=as_json)


def _tell(said: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(said)
        return
    told = [
        f"{', '.join(said[kind])} {when}"
        for kind, when in (("equivalents", "at any time"), ("cheaper", "where a downgrade is allowed"))
        if said[kind]
    ]
    served = f"may also be served by {'; by '.join(told)}" if told else "are served by that model alone"
    console().print(f"Requests for {said['model']} {served}.", markup=False, soft_wrap=True)


def _show(models: list[dict[str, Any]]) -> None:
    shown = table("model", "listed by", "equal", "cheaper, by downgrade")
    for told in models:
        providers = ", ".join(told["providers"]) or "[yellow]nobody: never chosen for others[/]"
        shown.add_row(told["model"], providers, ", ".join(told["equivalents"]), ", ".join(told["cheaper"]))
    console().print(shown)

"""`apikeyrouter providers`: what can be routed to, and at which prices."""

from typing import Annotated, Any

import typer

from apikeyrouter.interfaces.cli.options import AsJson, Database
from apikeyrouter.interfaces.cli.screen import console, print_json, state_text, table, usd

app = typer.Typer(help="Register and list providers.", no_args_is_help=True)

MODEL_HELP = (
    "A model, with its prices in US dollars per million tokens if known: NAME or NAME,INPUT,OUTPUT. Repeat."
)

UNSAID = "see prices list"
"""The provider was registered without a price: an administrator's or the book's may count."""


@app.command("list", epilog="Example: apikeyrouter providers list --json")
def list_providers(database: Database = None, as_json: AsJson = False) -> None:
    """List the providers, how they do and what they offer."""
    from apikeyrouter.interfaces.cli.log_access import folded, open_reader
    from apikeyrouter.interfaces.views import provider_view

    state = folded(open_reader(database))
    listed = [provider_view(state, provider) for provider in state.providers.values()]
    if as_json:
        print_json(listed)
    elif listed:
        _show_providers(listed)
    else:
        console().print("No providers yet. Register one with: apikeyrouter providers add openai")


@app.command(
    epilog="Example: apikeyrouter providers add openai --model gpt-4o-mini,0.15,0.60 --model gpt-4o,2.5,10"
)
def add(
    provider_id: Annotated[str, typer.Argument(metavar="ID", help="What requests and keys call it.")],
    kind: Annotated[str, typer.Option(help="The dialect that it speaks.")] = "openai",
    base_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where it is, if not at its usual place.")
    ] = None,
    model: Annotated[list[str] | None, typer.Option(metavar="MODEL", help=MODEL_HELP)] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a provider of this id.")] = False,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Register a provider. Without --model, any model may be asked of it, at the prices of the book."""
    from apikeyrouter.interfaces.cli.management import manage

    body = {
        "provider_id": provider_id,
        "kind": kind,
        "base_url": base_url,
        "models": [_offer(given) for given in model or []],
        "overwrite": overwrite,
    }
    provider = manage(database, lambda api: api.ask("POST", "/providers", body))
    if as_json:
        print_json(provider)
        return
    console().print(
        f"Provider {provider['provider_id']} registered: {len(provider['models'])} model(s) listed."
    )
    console().print(f"Next: apikeyrouter keys add {provider['provider_id']}")


def _offer(given: str) -> dict[str, Any]:
    match [part.strip() for part in given.split(",")]:
        case [name]:
            return {"model": name}
        case [name, input_usd, output_usd]:
            return {"model": name, "input_usd_per_mtok": input_usd, "output_usd_per_mtok": output_usd}
    raise typer.BadParameter(f"{given!r} is neither NAME nor NAME,INPUT,OUTPUT", param_hint="--model")


def _show_providers(providers: list[dict[str, Any]]) -> None:
    shown = table("provider", "health", "kind", "address", "model", ">input / Mtok", ">output / Mtok")
    for provider in providers:
        place = provider["base_url"] or "usual place"
        told = (provider["provider_id"], _health(provider), provider["kind"], place)
        if not provider["models"]:
            shown.add_row(*told, "any", UNSAID, UNSAID)
        for offer in provider["models"]:
            prices = (offer.get(f"{side}_nano_usd_per_mtok") for side in ("input", "output"))
            shown.add_row(
                *told, offer["model"], *(UNSAID if price is None else usd(price) for price in prices)
            )
            told = ("", "", "", "")
    console().print(shown)


def _health(provider: dict[str, Any]) -> str:
    until = f" until {provider['health_until'][11:19]}" if provider["health_until"] else ""
    return state_text(provider["health"]) + until

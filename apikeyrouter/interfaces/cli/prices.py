"""`apikeyrouter prices`: what models cost, by whose word, and which book of prices is in force."""

from typing import Annotated, Any

import typer

from apikeyrouter.interfaces.cli.options import AsJson, Database
from apikeyrouter.interfaces.cli.screen import console, print_json, table, usd

app = typer.Typer(help="See and set what models cost.", no_args_is_help=True)

SHOWN_PRICES = ("input", "cached_input", "output")
MOST_DIFFERENCES = 40
Usd = str | None


@app.command("list", epilog="Example: apikeyrouter prices list gpt-4o claude-sonnet-4-5")
def list_prices(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL]...", help="Tell what these cost.")
    ] = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Tell which book of prices is in force, which prices are set above it, and what models cost."""
    from apikeyrouter.interfaces.cli.log_access import folded, open_reader
    from apikeyrouter.interfaces.price_views import model_prices, summary_view

    state = folded(open_reader(database))
    now_us = _now_us()
    told = summary_view(state)
    told["model_prices"] = [row for model in models or () for row in model_prices(state, model, now_us)]
    if as_json:
        print_json(told)
        return
    _show_book(told["book"])
    if told["set"]:
        _show_prices(
            [{"provider": one["provider_id"], "source": "administrator", **one} for one in told["set"]]
        )
    if models:
        _show_prices(told["model_prices"])


@app.command(epilog="Example: apikeyrouter prices diff --all")
def diff(
    everything: Annotated[bool, typer.Option("--all", help="Also providers that no requests go to.")] = False,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Compare the book of the installed package with the one in force; nothing changes."""
    from apikeyrouter.interfaces.cli.management import manage

    told = manage(database, lambda api: api.ask("GET", "/prices/diff"))
    if as_json:
        print_json(told)
        return
    _show_differences(told, everything)


@app.command(epilog="Example: apikeyrouter prices adopt")
def adopt(
    sha256: Annotated[
        str | None, typer.Option(metavar="HASH", help="Only if the installed book has this hash.")
    ] = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Put the book of the installed package in force from now on; what was charged before stays."""
    from apikeyrouter.interfaces.cli.management import manage

    told = manage(database, lambda api: api.ask("POST", "/prices/adopt", {"sha256": sha256}))
    if as_json:
        print_json(told)
    else:
        _show_book(told["book"])


@app.command(
    "set", epilog="Example: apikeyrouter prices set openai gpt-4o --input 2.25 --output 9 --cached-input 1.1"
)
def set_price(
    provider_id: Annotated[str, typer.Argument(metavar="PROVIDER", help="A registered provider.")],
    model: Annotated[str, typer.Argument(metavar="MODEL", help="What requests call the model.")],
    input_usd: Annotated[
        Usd, typer.Option("--input", metavar="USD", help="US dollars per million tokens.")
    ] = None,
    output_usd: Annotated[
        Usd, typer.Option("--output", metavar="USD", help="The same for what is made.")
    ] = None,
    cached_input: Annotated[
        Usd, typer.Option(metavar="USD", help="For input that the provider had cached.")
    ] = None,
    cache_write: Annotated[
        Usd, typer.Option(metavar="USD", help="For input that it puts into its cache.")
    ] = None,
    audio_input: Annotated[Usd, typer.Option(metavar="USD", help="For input that is sound.")] = None,
    image_input: Annotated[Usd, typer.Option(metavar="USD", help="For input that is pictures.")] = None,
    reasoning: Annotated[Usd, typer.Option(metavar="USD", help="For output that is reasoning.")] = None,
    audio_output: Annotated[Usd, typer.Option(metavar="USD", help="For output that is sound.")] = None,
    image_output: Annotated[Usd, typer.Option(metavar="USD", help="For output that is pictures.")] = None,
    request: Annotated[
        Usd, typer.Option(metavar="USD", help="US dollars for each request, beside its tokens.")
    ] = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Let list and book count again.")] = False,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Set what a model costs at a provider, above the provider's list and the book."""
    from apikeyrouter.interfaces.cli.management import manage

    told = {
        "input_usd_per_mtok": input_usd,
        "output_usd_per_mtok": output_usd,
        "cached_input_usd_per_mtok": cached_input,
        "cache_write_usd_per_mtok": cache_write,
        "audio_input_usd_per_mtok": audio_input,
        "image_input_usd_per_mtok": image_input,
        "reasoning_usd_per_mtok": reasoning,
        "audio_output_usd_per_mtok": audio_output,
        "image_output_usd_per_mtok": image_output,
        "request_usd": request,
    }
    prices = {name: price for name, price in told.items() if price is not None}
    if withdraw == bool(prices):
        raise typer.BadParameter("give prices, or --withdraw, and not both", param_hint="--input")
    body = {"provider_id": provider_id, "model": model, "prices": None if withdraw else prices}
    answer = manage(database, lambda api: api.ask("POST", "/prices", body))
    if as_json:
        print_json(answer)
    else:
        _show_prices([row for row in answer["model_prices"] if row["registered"]])


def _now_us() -> int:
    from apikeyrouter.adapters.ambient import SystemClock

    return SystemClock().now_us()


def _show_book(book: dict[str, Any] | None) -> None:
    if book is None:
        console().print("No book of prices is in force.")
        return
    console().print(
        f"In force: {book['source']} {book['version']}, {book['models']:,} models of {book['providers']}"
        f" providers ({book['sha256'][:12]})"
    )


def _show_prices(rows: list[dict[str, Any]]) -> None:
    shown = table("provider", "model", ">input / Mtok", ">cached", ">output / Mtok", "who says so")
    for row in rows:
        prices, source = row["prices"] or {}, row["source"] or ""
        said = "" if row.get("registered", True) else "in the book"
        shown.add_row(row["provider"], row["model"], *_amounts(prices), said or source)
        for tier in row.get("tiers", ()):
            longer = f"  above {tier['above_input_tokens']:,} tokens in"
            shown.add_row("", longer, *_amounts(tier["prices"]), "")
    console().print(shown)


def _show_differences(told: dict[str, Any], everything: bool) -> None:
    _show_book(told["in_force"])
    if told["same"]:
        console().print("The installed package has the same prices.")
        return
    installed = told["installed"]
    counts = ", ".join(f"{count} {change}" for change, count in sorted(told["counts"].items()))
    console().print(f"Installed: {installed['source']} {installed['version']}: {counts}")
    rows = [row for row in told["differences"] if everything or row["in_use"]]
    shown = table(
        "provider", "model", "change", ">input", ">cached", ">output", ">then", ">cached", ">output"
    )
    for row in rows if everything else rows[:MOST_DIFFERENCES]:
        amounts = (*_amounts(row["before"] or {}), *_amounts(row["after"] or {}))
        shown.add_row(row["provider"], row["model"], row["change"], *amounts)
    if rows:
        console().print(shown)
    console().print(f"{len(rows)} of them shown concern your providers; --all shows every one.")
    console().print("Adopt it with: apikeyrouter prices adopt")


def _amounts(prices: dict[str, int]) -> list[str]:
    return [usd(prices.get(name)) if name != "cached_input" else _cached(prices) for name in SHOWN_PRICES]


def _cached(prices: dict[str, int]) -> str:
    return usd(prices["cached_input"]) if "cached_input" in prices else ""

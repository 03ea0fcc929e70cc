"""`apikeyrouter estimate` and `apikeyrouter estimates accuracy`: what requests would cost, and did."""

from pathlib import Path
from typing import Annotated, Any

import typer

from apikeyrouter.interfaces.cli.options import AsJson, Database
from apikeyrouter.interfaces.cli.screen import console, print_json, table

app = typer.Typer(help="See how good estimates were.", no_args_is_help=True)

MOST_TOKENS = 2**31 - 1


def add_to(root: typer.Typer) -> None:
    """Add the command that estimates one request."""
    root.command(
        "estimate",
        epilog="Example: apikeyrouter estimate --model gpt-4o --input-file prompt.txt --max-tokens 500",
    )(estimate)


def estimate(
    model: Annotated[str, typer.Option(metavar="MODEL", help="What the request would ask for.")],
    input_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The text to be sent; - for standard input."),
    ] = None,
    tokens: Annotated[
        int | None, typer.Option(min=0, max=MOST_TOKENS, help="The input's length, instead of a file.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, max=MOST_TOKENS, help="How long the answer may get.")
    ] = None,
    objective: Annotated[str | None, typer.Option(help="cost, reliability, fairness, latency, …")] = None,
    client: Annotated[str | None, typer.Option(help="For which client.")] = None,
    team: Annotated[str | None, typer.Option(help="For which team.")] = None,
    tags: Annotated[
        list[str] | None, typer.Option("--tag", help="With this tag; more than one may be.")
    ] = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Tell what a request would cost at every provider, whether budgets let it in, and who would serve it."""
    from apikeyrouter.interfaces.cli.management import manage

    if (input_file is None) == (tokens is None):
        raise typer.BadParameter("give --input-file or --tokens, and not both", param_hint="--input-file")
    text = "" if input_file is None else _text_of(input_file)
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": text}]}
    if max_tokens is not None:
        body["max_completion_tokens"] = max_tokens
    path = "/estimates" if tokens is None else f"/estimates?input_tokens={tokens}"
    headers = _headers(objective, client, team, tags or [])
    told = manage(database, lambda api: api.ask("POST", path, body, headers))
    if as_json:
        print_json(told)
    else:
        _show(told)


@app.command(epilog="Example: apikeyrouter estimates accuracy --json")
def accuracy(database: Database = None, as_json: AsJson = False) -> None:
    """Compare bound, expected and actual cost, for every model of every provider."""
    from apikeyrouter.interfaces.cli.log_access import folded, open_reader
    from apikeyrouter.interfaces.estimate_views import accuracy_view

    told = [one.model_dump(mode="json") for one in accuracy_view(folded(open_reader(database)))]
    if as_json:
        print_json(told)
        return
    shown = table(
        "provider", "model", "source", ">settled", ">bound", ">expected", ">actual", ">off by", ">above bound"
    )
    for row in told:
        amounts = (_usd(row[name]) for name in ("bound", "expected", "actual", "mean_absolute_error"))
        names = (row["provider_id"], row["model"], row["source"], f"{row['settlements']:,}")
        shown.add_row(*names, *amounts, f"{row['above_bound']:,}")
    console().print(shown if told else "Nothing has been settled yet.")


def _text_of(file: Path) -> str:
    import sys

    try:
        raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        return raw.decode()
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="--input-file") from None
    except UnicodeDecodeError:
        raise typer.BadParameter("the input is not valid UTF-8", param_hint="--input-file") from None


def _headers(objective: str | None, client: str | None, team: str | None, tags: list[str]) -> dict[str, str]:
    from apikeyrouter.interfaces.http.headers import CLIENT, OBJECTIVE, TAGS, TEAM

    given = {OBJECTIVE: objective, CLIENT: client, TEAM: team, TAGS: ",".join(tags) or None}
    return {name.decode(): value for name, value in given.items() if value is not None}


def _show(told: dict[str, Any]) -> None:
    page = console()
    shown = table(
        "",
        "provider",
        "model",
        ">tokens in",
        "",
        ">tokens out",
        ">expected",
        ">at most",
        "price by",
        "budgets",
    )
    for one in told["candidates"]:
        shown.add_row(
            "→" if one["chosen"] else "",
            one["provider_id"],
            one["model"],
            f"{one['input_tokens']:,}",
            one["input_from"],
            f"{one['expected_output_tokens']:,} of {one['output_tokens_bound']:,}",
            _usd(one["expected"]["amount"]),
            _usd(one["bound"]["amount"]),
            "nobody" if one["price"] is None else one["price"]["source"],
            _fit(one["budgets"]),
            style="bold green" if one["chosen"] else None,
        )
    if told["candidates"]:
        page.print(shown)
    page.print(told["explanation"], markup=False)


def _fit(budgets: list[dict[str, Any]]) -> str:
    tight = [one for one in budgets if not one["fits"]]
    if not tight:
        return "fits" if budgets else ""
    first = next((one for one in tight if one["hard"]), tight[0])
    when = "" if first["fits_at"] is None else f" until {first['fits_at'][:19]}"
    return f"{'not in' if first['hard'] else 'over'} {first['budget_id']}{when}"


def _usd(amount: str | None) -> str:
    return "" if amount is None else f"${amount}"

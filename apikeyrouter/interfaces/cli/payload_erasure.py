"""The end of kept bodies: `payloads erase`, `receipt`, `expire`, and `verify` that all is as the log says."""

from typing import Annotated

import typer

from apikeyrouter.interfaces.cli.options import AsJson, Database
from apikeyrouter.interfaces.cli.payload_options import Client, Reason, Subject, id_in_path, person_named
from apikeyrouter.interfaces.cli.payload_tables import show_check, show_receipt
from apikeyrouter.interfaces.cli.screen import console, print_json

FOUND_WRONG = 1


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: apikeyrouter payloads erase --client acme --subject user-17 --yes")(erase)
    app.command(epilog="Example: apikeyrouter payloads receipt ERASURE_ID --json > receipt.json")(receipt)
    app.command(epilog="Example: apikeyrouter payloads expire")(expire)
    app.command(epilog="Example: apikeyrouter payloads verify --json")(verify)


def erase(
    client: Client,
    subject: Subject = None,
    reason: Reason = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Destroy the key of a person, or without --subject of every person of the client; print the receipt."""
    from apikeyrouter.interfaces.cli.management import manage_existing

    person = person_named(subject)
    if not yes:
        whose = "one person" if person is not None else "every person"
        typer.confirm(
            f"Erase the bodies of {whose} of client {client} so that nobody can ever read them again?",
            abort=True,
            err=True,
        )
    order = {"client_id": client, "subject": person, "reason": reason}
    told = manage_existing(database, lambda api: api.ask("POST", "/payloads/erasures", order))
    show_receipt(told, as_json=as_json)


def receipt(
    erasure_id: Annotated[
        str | None,
        typer.Argument(metavar="[ERASURE_ID]", help="The erasure; without it all are listed."),
    ] = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Print the receipt of an erasure: what was erased, the events, and proofs that the log has them."""
    from apikeyrouter.interfaces.cli.management import manage_existing

    path = "/payloads/erasures" if erasure_id is None else f"/payloads/erasures/{id_in_path(erasure_id)}"
    told = manage_existing(database, lambda api: api.ask("GET", path))
    if isinstance(told, dict):
        show_receipt(told, as_json=as_json)
    elif as_json:
        print_json(told)
    elif told:
        for one in told:
            show_receipt(one, as_json=False)
    else:
        console().print("Nothing was erased.")


def expire(database: Database = None, as_json: AsJson = False) -> None:
    """Delete what is older than it may be kept, as a server does every hour."""
    from apikeyrouter.interfaces.cli.management import manage_existing

    told = manage_existing(database, lambda api: api.ask("POST", "/payloads/expire"))
    if as_json:
        print_json(told)
        return
    gone = ", ".join(f"{count:,} of {client}" for client, count in told["expired"].items())
    console().print(f"Deleted: {gone or 'nothing'}.", markup=False)


def verify(database: Database = None, as_json: AsJson = False) -> None:
    """Compare every sealed body with what the log says of it; exit code 1 if anything is wrong."""
    from apikeyrouter.interfaces.cli.management import manage_existing

    told = manage_existing(database, lambda api: api.ask("GET", "/payloads/check"))
    show_check(told, as_json=as_json)
    if not told["ok"]:
        raise typer.Exit(FOUND_WRONG)

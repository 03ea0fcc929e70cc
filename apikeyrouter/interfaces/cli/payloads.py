"""`apikeyrouter payloads`: keep bodies of requests and answers, read them, check them, erase them."""

from typing import Annotated, Any

import typer

from apikeyrouter.interfaces.cli import payload_erasure
from apikeyrouter.interfaces.cli.options import AsJson, Database
from apikeyrouter.interfaces.cli.payload_options import Client, Reason, Subject, id_in_path, person_named
from apikeyrouter.interfaces.cli.payload_tables import show_captures, show_list
from apikeyrouter.interfaces.cli.screen import console, print_json

app = typer.Typer(help="Keep bodies of requests and answers, read them, erase them.", no_args_is_help=True)
capture_app = typer.Typer(help="Say whose bodies are kept; nobody's are by default.", no_args_is_help=True)
app.add_typer(capture_app, name="capture")


@capture_app.command("on", epilog="Example: apikeyrouter payloads capture on --client acme --keep 30d")
def capture_on(
    client: Client,
    keep: Annotated[
        str | None, typer.Option(metavar="SPAN", help="How long, such as 30d. Default: until erased.")
    ] = None,
    reason: Reason = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Keep the bodies of a client's requests from now on, sealed."""
    _set_capture(
        {"client_id": client, "enabled": True, "keep": keep, "reason": reason}, database, as_json=as_json
    )


@capture_app.command("off", epilog="Example: apikeyrouter payloads capture off --client acme")
def capture_off(
    client: Client, reason: Reason = None, database: Database = None, as_json: AsJson = False
) -> None:
    """Keep none of the requests that begin from now on; what is kept stays until it expires or is erased."""
    _set_capture({"client_id": client, "enabled": False, "reason": reason}, database, as_json=as_json)


@capture_app.command("list", epilog="Example: apikeyrouter payloads capture list")
def list_captures(database: Database = None, as_json: AsJson = False) -> None:
    """List the clients whose bodies are kept."""
    from apikeyrouter.interfaces.cli.log_access import folded, open_reader
    from apikeyrouter.interfaces.payload_views import captures_view

    show_captures(captures_view(folded(open_reader(database))), as_json=as_json)


@app.command("list", epilog="Example: apikeyrouter payloads list --client acme")
def list_payloads(
    client: Annotated[str | None, typer.Option(metavar="CLIENT", help="Only of this client.")] = None,
    pseudonym: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this subject.")] = None,
    request: Annotated[str | None, typer.Option(metavar="ID", help="Only of this request.")] = None,
    after: Annotated[str, typer.Option(metavar="ID", help="Those behind this request.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """List what is kept, unopened: request, client, subject by its pseudonym, sizes."""
    from urllib.parse import urlencode

    from apikeyrouter.interfaces.cli.management import manage_existing

    given = {"client_id": client, "subject": pseudonym, "after": after, "limit": limit}
    query = urlencode({name: value for name, value in given.items() if value is not None})
    path = f"/payloads?{query}" if request is None else f"/payloads/{id_in_path(request)}"
    told = manage_existing(database, lambda api: api.ask("GET", path))
    listed = told if isinstance(told, list) else [told]
    if as_json:
        print_json(listed)
    else:
        show_list(listed)


@app.command(epilog="Example: apikeyrouter payloads show REQUEST_ID --reason 'complaint 17'")
def show(
    request_id: Annotated[str, typer.Argument(metavar="REQUEST_ID", help="The request.")],
    reason: Reason = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Unseal the bodies of a request; that you did, when and why, is in the log before you see them."""
    from apikeyrouter.interfaces.cli.management import manage_existing

    path = f"/payloads/{id_in_path(request_id)}/readings"
    told = manage_existing(database, lambda api: api.ask("POST", path, {"reason": reason}))
    if as_json:
        print_json(told)
        return
    page = console()
    page.print(f"{told['request_id']} of {told['client_id']}, subject {told['subject']}", markup=False)
    for part in told["parts"]:
        cut = ", cut" if part["truncated"] else ""
        page.print(f"--- {part['part']}, {part['plain_bytes']:,} bytes{cut}")
        page.print(told["bodies"][part["part"]], markup=False, soft_wrap=True)


@app.command(epilog="Example: apikeyrouter payloads pseudonym --client acme --subject -")
def pseudonym(
    client: Client, subject: Subject = None, database: Database = None, as_json: AsJson = False
) -> None:
    """Tell the name under which a person, or the client itself, appears in events and legal holds."""
    from apikeyrouter.interfaces.cli.management import manage_existing

    who = {"client_id": client, "subject": person_named(subject)}
    told = manage_existing(database, lambda api: api.ask("POST", "/payloads/pseudonym", who))
    if as_json:
        print_json(told)
    else:
        typer.echo(told["subject"])


payload_erasure.add_to(app)


def _set_capture(change: dict[str, Any], database: str | None, *, as_json: bool) -> None:
    from apikeyrouter.interfaces.cli.management import manage

    show_captures(manage(database, lambda api: api.ask("POST", "/payloads/capture", change)), as_json=as_json)

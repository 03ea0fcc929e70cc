"""`apikeyrouter explain`: the story of one request, for people."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from apikeyrouter.interfaces.cli.options import AsJson, Database
from apikeyrouter.interfaces.cli.screen import print_json

if TYPE_CHECKING:
    from apikeyrouter.application.audit import Trail
    from apikeyrouter.application.ports import EventFinder


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: apikeyrouter explain 019ab3c4d5e67f8090a1b2c3d4e5f607")(explain)


def explain(
    request_id: Annotated[str, typer.Argument(metavar="REQUEST_ID", help="The x-request-id of an answer.")],
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Tell why a request went where it went, and which events say so."""
    from apikeyrouter.application.audit import trail
    from apikeyrouter.interfaces.cli.log_access import open_reader
    from apikeyrouter.interfaces.cli.story import tell

    reader = open_reader(database)
    found = trail(reader, request_id)
    if as_json:
        print_json(found.as_data())
    else:
        tell(found, labels_in(found, reader))


def labels_in(found: "Trail", reader: "EventFinder") -> Mapping[str, str]:
    """Return the names that people gave to the keys of a trail."""
    from apikeyrouter.domain.events import KeyRegistered, RouteDecided, key_stream

    key_ids: set[str] = set()
    for _, _, _, event in found.events:
        if isinstance(event, RouteDecided):
            key_ids |= {candidate.key_id for candidate in (event.chosen, *event.others)}
        key_ids |= {exclusion.key_id for exclusion in getattr(event, "exclusions", ())}
    births = {key_id: reader.event(key_stream(key_id), 1) for key_id in sorted(key_ids)}
    return {
        key_id: str(birth.event.metadata["label"])
        for key_id, birth in births.items()
        if birth and isinstance(birth.event, KeyRegistered) and birth.event.metadata.get("label")
    }

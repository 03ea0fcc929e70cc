"""`apikeyrouter events`: the log itself, event by event."""

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apikeyrouter.interfaces.cli.options import AsJson, Database
from apikeyrouter.interfaces.cli.screen import console, moment, table

if TYPE_CHECKING:
    from apikeyrouter.application.ports import EventReader
    from apikeyrouter.domain.events import Recorded

POLL_S = 0.25
SUMMARY_CHARS = 60
_TOLD_ELSEWHERE = {
    "at_us",
    "facts",
    "policy",
    "others",
    "exclusions",
    "seed",
    "tried",
    "evidence",
    "fingerprint",
}


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Examples: apikeyrouter events --after 100 --json | jq .name · apikeyrouter events --follow"
    )(events)


def events(
    after: Annotated[int, typer.Option(min=0, help="Only events behind this position.")] = 0,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many; default 100, none with --follow.")
    ] = None,
    stream: Annotated[
        str | None, typer.Option(help="Only this stream, such as key-ID or request-ID.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more until Ctrl-C.")] = False,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """List the events of the log in their order; with --json one JSON object a line."""
    from apikeyrouter.application.audit import event_as_data
    from apikeyrouter.interfaces.cli.log_access import open_reader

    reader = open_reader(database)
    found = _followed(reader, after, stream) if follow else _stored(reader, after, stream)
    limit = limit if limit is not None or follow else 100
    told = map(event_as_data, islice(found, limit))
    with contextlib.suppress(KeyboardInterrupt):
        _print(told, as_json=as_json, follow=follow)


def show_events(told: list[dict[str, Any]]) -> None:
    """Show events as a table."""
    shown = table(">position", "time (UTC)", "event", "stream", "what it says")
    for event in told:
        data = event["data"]
        shown.add_row(
            str(event["position"]),
            moment(data["at_us"]),
            event["name"],
            f"{event['stream']}@{event['version']}",
            summary(data),
        )
    shown.columns[-1].overflow = "fold"
    console().print(shown)


def summary(data: dict[str, Any]) -> str:
    """Say the plain fields of an event in a line; the rest is for --json."""
    chosen = data.get("chosen")
    fields = {"chosen": chosen["key_id"], "total": round(chosen["total"], 3)} if chosen else {}
    fields |= {
        name: value for name, value in data.items() if name not in _TOLD_ELSEWHERE and name != "chosen"
    }
    return " ".join(f"{name}={_plain(value)}" for name, value in fields.items())


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _stored(reader: "EventReader", after: int, stream: str | None) -> Iterator["Recorded"]:
    if stream is None:
        return reader.read(after)
    return (recorded for recorded in reader.stream(stream) if recorded.position > after)


def _followed(reader: "EventReader", after: int, stream: str | None) -> Iterator["Recorded"]:
    while True:
        for recorded in reader.read(after):
            after = recorded.position
            if stream in {None, recorded.stream}:
                yield recorded
        time.sleep(POLL_S)


def _print(told: Iterator[dict[str, Any]], *, as_json: bool, follow: bool) -> None:
    if as_json:
        for event in told:
            sys.stdout.write(json.dumps(event, ensure_ascii=False, separators=(",", ":")) + "\n")
            sys.stdout.flush()
    elif follow:
        for event in told:
            console().print(_line(event), soft_wrap=True, markup=False)
    else:
        show_events(list(told))


def _line(event: dict[str, Any]) -> str:
    at, where = moment(event["data"]["at_us"]), f"{event['stream']}@{event['version']}"
    return f"{event['position']:>8} {at} {event['name']:<26} {where} {summary(event['data'])}"

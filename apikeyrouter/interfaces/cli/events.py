"""`apikeyrouter events`: the log itself, event by event."""

import contextlib
import json
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.padding import Padding
from rich.text import Text

from apikeyrouter.interfaces.cli.options import AsJson, Database
from apikeyrouter.interfaces.cli.screen import console, moment

if TYPE_CHECKING:
    from apikeyrouter.application.ports import EventReader
    from apikeyrouter.domain.events import Recorded

POLL_S = 0.25
INDENT = 24
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
    "content",
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
        (_print_lines if as_json else show_events)(told)
    if not follow and stream is None:
        _tell_what_left(reader, after)


def _tell_what_left(reader: "EventReader", after: int) -> None:
    from apikeyrouter.application.retention.gaps import missing_segments

    names = ", ".join(segment.name for segment in missing_segments(reader, after))
    if names:
        console(errors=True).print(f"Not listed: requests that were archived, in {names}", soft_wrap=True)


def show_events(told: Iterable[dict[str, Any]]) -> None:
    """Show events as they come: where each stands, and below it what it says."""
    page, date = console(), ""
    for event in told:
        today, time_of_day = moment(event["data"]["at_us"]).split()
        if today != date:
            page.print(f"[dim]{'':>8}  {today} (UTC)[/]")
            date = today
        where = f"[cyan]{event['name']:<24}[/] {event['stream']}@{event['version']}"
        page.print(f"{event['position']:>8}  {time_of_day}  {where}", soft_wrap=True)
        page.print(
            Padding(Text(summary(event["data"]), "dim", overflow="fold"), (0, 0, 0, INDENT), expand=False)
        )


def summary(data: dict[str, Any]) -> str:
    """Say the plain fields of an event in a line; the rest is for --json."""
    chosen = data.get("chosen")
    fields = {"chosen": chosen["key_id"], "total": round(chosen["total"], 3)} if chosen else {}
    fields |= {
        name: value for name, value in data.items() if name not in _TOLD_ELSEWHERE and name != "chosen"
    }
    return " ".join(f"{name}={_plain(value)}" for name, value in fields.items())


def _plain(value: Any) -> str:
    match value:
        case str():
            return value
        case [{"model": _}, *_]:
            return ",".join(offer["model"] for offer in value)
    return json.dumps(value, separators=(",", ":"))


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


def _print_lines(told: Iterable[dict[str, Any]]) -> None:
    for event in told:
        sys.stdout.write(json.dumps(event, ensure_ascii=False, separators=(",", ":")) + "\n")
        sys.stdout.flush()

"""What a visitor can paste into another terminal while the demo stays up."""

import json
from pathlib import Path
from typing import NamedTuple

BODY: dict[str, object] = {"model": "swift-1", "messages": [{"role": "user", "content": "Hello"}]}


class Command(NamedTuple):
    """A command and what it shows."""

    shows: str
    line: str


def commands(url: str, log: Path, run_key: str, request_id: str, position: int) -> list[Command]:
    """Return commands that work as they stand, about this very run."""
    api = f"{url}/api/v1"
    managed = f"-H 'X-API-Key: {run_key}'"
    return [
        Command("ask, and read in the headers how it was routed", _ask(url, BODY, "-i")),
        Command("the same as a stream", _ask(url, {**BODY, "stream": True}, "-N")),
        Command("choose for another objective", _ask(url, BODY, "-i -H 'x-akr-objective: cost'")),
        Command(
            "the story of the request with the most attempts", f"apikeyrouter explain {request_id} -d {log}"
        ),
        Command("the same as JSON, over HTTP", f"curl -s {managed} {api}/requests/{request_id}"),
        Command(
            "the last events of the log", f"apikeyrouter events --after {max(position - 10, 0)} -d {log}"
        ),
        Command("decide everything again", f"apikeyrouter replay verify -d {log}"),
    ]


def _ask(url: str, body: dict[str, object], flags: str) -> str:
    told = f"-H 'content-type: application/json' -d '{json.dumps(body)}'"
    return f"curl -s {flags} {url}/v1/chat/completions {told}"

"""What a visitor can paste into another terminal while the demo stays up."""

import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

QUESTION = {"model": "swift-1", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
LAST_EVENTS = 8


class Command(NamedTuple):
    """A command and what it shows."""

    shows: str
    line: str


def commands(url: str, log: Path, run_key: str, request_id: str, position: int) -> list[Command]:
    """Return commands that work as they stand, about this very run."""
    trail = f"{url}/api/v1/requests/{request_id}"
    program = _program()
    last = max(position - LAST_EVENTS, 0)
    return [
        Command("ask, and read in the headers how it was routed", _ask(url, "-i", QUESTION)),
        Command(
            "ask for the cheapest, as a stream",
            _ask(url, "-N -H 'x-akr-objective: cost'", {**QUESTION, "stream": True}),
        ),
        Command(
            "the story of a request with many attempts", f"{program} explain {request_id} \\\n  -d {log}"
        ),
        Command("the same as JSON, over HTTP", f"curl -s -H 'X-API-Key: {run_key}' \\\n  {trail}"),
        Command("the last events of the log", f"{program} events --after {last} -d {log}"),
        Command("decide everything again", f"{program} replay verify -d {log}"),
    ]


def _program() -> str:
    """Return how this program is started here: by its name if the shell finds it, else by its path."""
    return "apikeyrouter" if shutil.which("apikeyrouter") else shlex.quote(sys.argv[0])


def _ask(url: str, flags: str, question: dict[str, Any]) -> str:
    body = json.dumps(question, separators=(",", ":"))
    told = f"-H 'content-type: application/json' \\\n  -d '{body}'"
    return f"curl -s {flags} {url}/v1/chat/completions \\\n  {told}"

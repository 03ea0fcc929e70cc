"""Play a plan through one router: every request is sent when it is due, and its outcome told.

Standard library only, as `plan` is.
"""

import asyncio
import importlib
import json
import resource
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.routers.plan import Plan, PlannedRequest, read_plan, text_of

POLL_S = 0.02
WARM_UP_CALLS = 3


class Ask(NamedTuple):
    """One chat request as every router is asked."""

    messages: list[dict[str, str]]
    input_tokens: int
    output_tokens: int


class RefusedError(Exception):
    """A plain client gave up; the message says why."""


Call = Callable[[Ask], Awaitable[object]]
Opener = Callable[[Plan, str], AbstractAsyncContextManager[Call]]


def ask_of(request: PlannedRequest, number: int) -> Ask:
    """Write what a request asks."""
    message = {"role": "user", "content": text_of(request.input_tokens, number)}
    return Ask([message], request.input_tokens, request.output_tokens)


async def play(plan: Plan, call: Call, start_s: float) -> list[dict[str, Any]]:
    """Send every request when it is due, whatever became of those before, and return what became of each."""
    tasks = []
    for number, request in enumerate(plan.requests):
        due_s = start_s + request.at_s
        await asyncio.sleep(max(0.0, due_s - time.time()))
        tasks.append(asyncio.create_task(_outcome(call, ask_of(request, number), number, due_s)))
    return list(await asyncio.gather(*tasks))


async def _outcome(call: Call, ask: Ask, number: int, due_s: float) -> dict[str, Any]:
    late_s, kind = time.time() - due_s, None
    try:
        await call(ask)
    except Exception as error:  # noqa: BLE001 - whatever a client would see is what is counted
        kind = kind_of(error)
    return {"number": number, "late_s": late_s, "took_s": time.time() - due_s, "failure": kind}


def kind_of(error: Exception) -> str:
    """Name a failure as a client sees it: its status where it has one, and its code or class."""
    if isinstance(error, RefusedError):
        return str(error)
    status = getattr(error, "http_status", None) or getattr(error, "status_code", None)
    code = getattr(error, "code", None)
    name = code if isinstance(code, str) and code and not code.isdigit() else type(error).__name__
    return f"{status} {name}" if status else name


def opener_for(name: str) -> Opener:
    """Find how a router is opened, without importing what the others need."""
    module = {"apikeyrouter": "ours", "litellm": "litellm_router"}.get(name.split("-", 1)[0], "plain")
    opener: Opener = importlib.import_module(f"benchmarks.routers.{module}").open_router
    return opener


async def perform(name: str, folder: Path) -> None:
    """Open the router, warm it up, say `ready`, play when `go` tells the moment, write `outcomes.jsonl`."""
    plan = read_plan(folder / "plan.json")
    async with opener_for(name)(plan, name) as call:
        for number in range(WARM_UP_CALLS):
            await call(ask_of(PlannedRequest(0.0, 1, 1), number))
        print("ready", flush=True)
        start_s = await asyncio.to_thread(_told_start, folder / "go")
        cpu_before_s = _cpu_s()
        outcomes = await play(plan, call, start_s)
        lines = [*outcomes, {"cpu_s": _cpu_s() - cpu_before_s}]
    (folder / "outcomes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def _told_start(path: Path) -> float:
    while not path.exists():
        time.sleep(POLL_S)
    return float(path.read_text())


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

"""The course of the demo: set the stage, let the crowd come, show what happens, check it, stay up."""

import asyncio
import contextlib
import logging
import secrets
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import structlog
import typer
from rich.console import Console
from rich.live import Live

from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.application.replay import verify
from apikeyrouter.domain.events import Recorded
from apikeyrouter.domain.models.system_error import ConflictError
from apikeyrouter.interfaces.cli.refusing import REFUSED
from apikeyrouter.interfaces.cli.screen import console, print_json
from apikeyrouter.interfaces.demo.cast import ROLES, cast_for
from apikeyrouter.interfaces.demo.commands import commands
from apikeyrouter.interfaces.demo.crowd import asks, send
from apikeyrouter.interfaces.demo.feed import Feed
from apikeyrouter.interfaces.demo.scoreboard import Scoreboard
from apikeyrouter.interfaces.demo.screen import Page, keys_table
from apikeyrouter.interfaces.demo.stage import Stage, stage
from apikeyrouter.interfaces.demo.summary import Findings, show

REDRAW_S = 0.2
LAST_STANDING = 2
SILENT = logging.CRITICAL


class Plan(NamedTuple):
    """What was asked for on the command line."""

    requests: int
    seconds: float
    seed: int
    port: int | None
    trace: Path | None
    database: Path | None
    once: bool
    as_json: bool


def run(plan: Plan) -> None:
    """Play the demo; Ctrl-C ends it at any time. Exit 1 if a decision came out otherwise when replayed."""
    for ending in (signal.SIGTERM, signal.SIGHUP):  # SIGHUP: the terminal was closed
        signal.signal(ending, signal.default_int_handler)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(SILENT))
    logging.getLogger("uvicorn").setLevel(SILENT)
    identical = True
    with contextlib.suppress(KeyboardInterrupt), _log_file(plan) as log:
        identical = asyncio.run(_play(plan, log))
    if not identical:
        raise typer.Exit(REFUSED)


@contextlib.contextmanager
def _log_file(plan: Plan) -> Iterator[Path]:
    if plan.database is not None:
        if plan.database.exists():
            raise ConflictError(f"{plan.database} exists already, and the demo writes a log of its own")
        yield plan.database
        return
    with tempfile.TemporaryDirectory(prefix="apikeyrouter-demo-") as folder:
        yield Path(folder) / "demo.db"


async def _play(plan: Plan, log: Path) -> bool:
    crowd = asks(plan.requests, plan.seconds, plan.seed, plan.trace)
    cast = cast_for(len(crowd), plan.seconds)
    run_key = secrets.token_urlsafe(16)
    page = console()
    async with stage(cast, log, port=plan.port, seed=plan.seed, run_key=run_key) as running:
        scoreboard, feed = _following(running)
        if not plan.as_json:
            _open(page, plan, running)
        drawn = Page(scoreboard, feed, requests=len(crowd), began_us=time.time_ns() // 1000)
        async with _shown(page, drawn, feed, plan):
            await send(running.url, crowd)
        findings = await asyncio.to_thread(_findings, running)
        _close(page, plan, running, findings, run_key)
        if not plan.once:
            await asyncio.Event().wait()
    return findings.verification.identical


def _following(running: Stage) -> tuple[Scoreboard, Feed]:
    """Fold what the log holds already, then every batch as soon as it is durable."""
    scoreboard = Scoreboard()
    scoreboard.take(running.node.reader.read())
    feed = Feed(scoreboard.labels)

    def take(batch: Sequence[Recorded]) -> None:
        scoreboard.take(batch)
        feed.take(batch)

    running.node.journal.log.follow(take)
    return scoreboard, feed


@contextlib.asynccontextmanager
async def _shown(page: Console, drawn: Page, feed: Feed, plan: Plan) -> AsyncIterator[None]:
    if plan.as_json:
        yield
        return
    show_it = _live(page, drawn) if page.is_terminal else _printed(page, drawn, feed)
    showing = asyncio.create_task(show_it)
    try:
        yield
        await asyncio.sleep(REDRAW_S)
    finally:
        showing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await showing


async def _live(page: Console, drawn: Page) -> None:
    """Draw until cancelled, then leave the last decisions standing."""
    with Live(drawn, console=page, auto_refresh=False, transient=True) as live:
        try:
            while True:
                live.refresh()
                await asyncio.sleep(REDRAW_S)
        finally:
            live.console.print(*drawn.last_items(LAST_STANDING), "")


async def _printed(page: Console, drawn: Page, feed: Feed) -> None:
    """Where nobody can watch a screen change, print each item once."""
    printed = 0
    while True:
        for item in list(feed.items):
            if item.position > printed:
                printed = item.position
                page.print(drawn.item(item))
        await asyncio.sleep(REDRAW_S)


def _findings(running: Stage) -> Findings:
    """Fold the whole log once more from its file, and decide everything again."""
    reader = SqliteReader(running.log)
    scoreboard = Scoreboard()
    scoreboard.take(reader.read())
    return Findings(
        scoreboard=scoreboard,
        verification=verify(reader.read()),
        log=str(running.log),
    )


def _open(page: Console, plan: Plan, running: Stage) -> None:
    page.print(f"[bold green]ApiKeyRouter demo[/] on {running.url}: {len(ROLES)} keys, no network")
    traffic = f"the trace {plan.trace.name}" if plan.trace else "the shape of real LLM traffic"
    page.print(f"[dim]{plan.requests} requests in {plan.seconds:.0f} s, with {traffic}[/]\n")


def _close(page: Console, plan: Plan, running: Stage, findings: Findings, run_key: str) -> None:
    if plan.as_json:
        print_json(findings.as_data())
        return
    board = findings.scoreboard
    page.print(keys_table(board))
    page.print()
    show(findings, page)
    if plan.once:
        return
    page.print("\n[bold]Try it in another terminal; the demo stays up until Ctrl-C.[/]")
    request_id = board.most_attempts[0].removeprefix("request-")
    for command in commands(running.url, running.log, run_key, request_id, board.position):
        page.print(f"\n[dim]# {command.shows}[/]")
        page.print(command.line, soft_wrap=True, markup=False)

"""One call in process: `ApiKeyRouter.route` beside a bare client that only posts and parses."""

import asyncio
import gc
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import msgspec
import uvloop

from apikeyrouter import ApiKeyRouter
from benchmarks import report
from benchmarks.apikeyrouter_setup import open_router
from benchmarks.processes import Child, Cores, free_port
from benchmarks.suites import Options
from benchmarks.wire import MESSAGES, MODEL, PROVIDER_KEY, chat_body

TASKS = (1, 64)
BARE = "aiohttp, post and parse"
Call = Callable[[], Awaitable[object]]
Caller = Callable[[str, Path], AbstractAsyncContextManager[Call]]


@asynccontextmanager
async def _aiohttp(upstream_url: str, _folder: Path) -> AsyncIterator[Call]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def call() -> object:
            body = chat_body(MODEL, stream=False)
            url = upstream_url + "/v1/chat/completions"
            async with session.post(url, data=body, headers=_headers()) as answer:
                return msgspec.json.decode(await answer.read())

        yield call


@asynccontextmanager
async def _httpx(upstream_url: str, _folder: Path) -> AsyncIterator[Call]:
    async with httpx.AsyncClient(timeout=60) as client:

        async def call() -> object:
            body = chat_body(MODEL, stream=False)
            answer = await client.post(
                upstream_url + "/v1/chat/completions", content=body, headers=_headers()
            )
            return answer.json()

        yield call


def _router(database_name: str | None) -> Caller:
    @asynccontextmanager
    async def caller(upstream_url: str, folder: Path) -> AsyncIterator[Call]:
        database = None if database_name is None else folder / database_name
        async with open_router(database, upstream_url) as router:
            yield lambda: _route(router)

    return caller


async def _route(router: ApiKeyRouter) -> object:
    return await router.route({"model": MODEL, "messages": MESSAGES, "parameters": {"max_tokens": 256}})


def _headers() -> dict[str, str]:
    return {"content-type": "application/json", "authorization": f"Bearer {PROVIDER_KEY}"}


CALLERS: dict[str, Caller] = {
    BARE: _aiohttp,
    "httpx, post and parse": _httpx,
    "ApiKeyRouter, log in memory": _router(None),
    "ApiKeyRouter, SQLite, strict, FULL": _router("router.db"),
}


def run(options: Options) -> None:
    """Measure every caller in interleaved rounds, on one core, the upstream on the other."""
    calls = 1_000 if options.quick else 5_000
    cores, usable, port = Cores.choose(), os.sched_getaffinity(0), free_port()
    report.RESULTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="library-", dir=report.RESULTS) as folder:
        upstream = _upstream(port, cores, Path(folder))
        os.sched_setaffinity(0, {cores.gateway})
        try:
            upstream.wait_for_port(port, within_s=10)
            rounds = _rounds(f"http://127.0.0.1:{port}", Path(folder), options.rounds, calls)
        finally:
            os.sched_setaffinity(0, usable)
            upstream.stop()
    _show(rounds)
    report.save("library", {"quick": options.quick, "rounds": options.rounds, "calls": calls}, rounds)


def _upstream(port: int, cores: Cores, folder: Path) -> Child:
    command = [sys.executable, "-m", "benchmarks.upstream", "--port", str(port)]
    return Child(command, core=cores.load, log=folder / "upstream.txt")


def _rounds(upstream_url: str, folder: Path, rounds: int, calls: int) -> list[dict[str, Any]]:
    measured = []
    for number in range(rounds):
        for name, caller in CALLERS.items():
            own = folder / f"{number}-{len(measured)}"
            own.mkdir()
            rows = uvloop.run(_measure(caller, upstream_url, own, calls))
            measured.extend({"round": number, "caller": name, **row} for row in rows)
    return measured


async def _measure(caller: Caller, upstream_url: str, folder: Path, calls: int) -> list[dict[str, Any]]:
    async with caller(upstream_url, folder) as call:
        await _repeat(call, 200, 64)
        return [await _weigh(call, calls, tasks) for tasks in TASKS]


async def _weigh(call: Call, calls: int, tasks: int) -> dict[str, Any]:
    gc.collect()
    begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
    taken_ns = await _repeat(call, calls, tasks)
    elapsed_s, cpu_s = time.perf_counter() - begin_s, time.process_time() - begin_cpu_s
    return {
        "tasks": tasks,
        "cpu_ms": cpu_s * 1e3 / calls,
        "per_s": calls / elapsed_s,
        "p50_ms": report.quantile(taken_ns, 0.5) / 1e6,
        "p99_ms": report.quantile(taken_ns, 0.99) / 1e6,
    }


async def _repeat(call: Call, calls: int, tasks: int) -> list[int]:
    taken_ns: list[int] = []
    left = calls

    async def caller() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            begin_ns = time.perf_counter_ns()
            await call()
            taken_ns.append(time.perf_counter_ns() - begin_ns)

    await asyncio.gather(*(caller() for _ in range(tasks)))
    return taken_ns


def _show(rounds: list[dict[str, Any]]) -> None:
    rows = []
    for tasks in TASKS:
        for name in CALLERS:
            mine = [row for row in rounds if (row["caller"], row["tasks"]) == (name, tasks)]
            bare = [row for row in rounds if (row["caller"], row["tasks"]) == (BARE, tasks)]
            ratios = [ours["cpu_ms"] / theirs["cpu_ms"] for ours, theirs in zip(mine, bare, strict=True)]
            figures = [report.middle(row[field] for row in mine) for field in FIELDS]
            shown = [report.number(figure, 3) for figure in figures]
            rows.append([f"{name}; {tasks} tasks", *shown, report.spread(ratios)])
    columns = ["", *FIELDS.values(), "CPU / bare aiohttp (rounds)"]
    report.table("One call in process; medians of the rounds", columns, rows)


FIELDS = {"cpu_ms": "CPU ms/call", "per_s": "calls/s", "p50_ms": "p50 ms", "p99_ms": "p99 ms"}

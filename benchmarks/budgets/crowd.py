"""The crowd: every request is sent when it is due, whatever became of those before, and its answer noted."""

import asyncio
import time
from dataclasses import dataclass

import aiohttp
import msgspec

from benchmarks.budgets.contenders import Contender
from benchmarks.budgets.plan import Ask, Load

REFUSING = b"budget"
GIVE_UP_S = 60


@dataclass(frozen=True)
class Told:
    """What became of a request: answered, refused for money, or failed, and when (µs since 1970)."""

    ask: Ask
    status: int
    refused: bool
    sent_us: int
    told_us: int
    words: str = ""


def ask_all(contender: Contender, load: Load, port: int) -> list[Told]:
    """Ask everything; return what was told."""
    return asyncio.run(_ask_all(contender, load, port))


async def _ask_all(contender: Contender, load: Load, port: int) -> list[Told]:
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=GIVE_UP_S)
    begin_s = time.perf_counter()
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        tasks = []
        for ask in load.asks:
            await asyncio.sleep(max(0.0, begin_s + ask.due_s - time.perf_counter()))
            tasks.append(asyncio.create_task(_ask(session, url, contender, ask)))
        return list(await asyncio.gather(*tasks))


async def _ask(session: aiohttp.ClientSession, url: str, contender: Contender, ask: Ask) -> Told:
    sent_us = time.time_ns() // 1000
    status, content = await _answer(session, url, ask, contender.headers(ask))
    refused = status >= 400 and REFUSING in content.lower()
    words = "" if status == 200 or refused else content[:200].decode(errors="replace")
    return Told(ask, status, refused, sent_us, time.time_ns() // 1000, words)


async def _answer(
    session: aiohttp.ClientSession, url: str, ask: Ask, headers: dict[str, str]
) -> tuple[int, bytes]:
    body, headers = msgspec.json.encode(ask.body()), {**headers, "content-type": "application/json"}
    try:
        async with session.post(url, data=body, headers=headers) as answer:
            return answer.status, await answer.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        return 599, repr(error).encode()

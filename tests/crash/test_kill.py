"""kill -9 at every step of the line, with 64 requests in flight: nothing acknowledged is lost."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import httpx
import pytest
from loopback import QUESTION, material_of, running_proxy, scripted

from apikeyrouter.application.replay import verify
from apikeyrouter.domain.events import (
    RequestCancelled,
    RequestCompleted,
    RequestFailed,
    RequestReleased,
    RouteDecided,
    RouteRefused,
)
from apikeyrouter.interfaces.scripted_provider import KeyScript, ScriptedProvider
from apikeyrouter.settings import RouterSettings

ENDS = (RequestCompleted, RequestFailed, RequestCancelled, RequestReleased, RouteRefused)
STEPS = ("parsed", "decided", "recorded", "durable", "sent", "answered", "settling", "settled")
NAMES = ("a", "b", "c")


async def load_until_death(url: str) -> list[str]:
    """Ask with 64 tasks until the server dies; return the ids of the requests that were answered."""
    answered: list[str] = []

    async def ask(client: httpx.AsyncClient) -> None:
        while True:
            try:
                answer = await client.post(f"{url}/v1/chat/completions", json=QUESTION)
            except httpx.TransportError:
                return
            if answer.status_code == 200:
                answered.append(answer.headers["x-request-id"])

    limits = httpx.Limits(max_connections=64)
    async with httpx.AsyncClient(timeout=20, limits=limits) as client, asyncio.timeout(60):
        await asyncio.gather(*(ask(client) for _ in range(64)))
    return answered


@pytest.mark.parametrize("step", STEPS)
async def test_kill_at(step, tmp_path):
    """After restart every acknowledged request is settled, every open one closed, no call repeated."""
    database = tmp_path / "log.db"
    slow = {name: KeyScript(latency_ms=(0, 20)) for name in NAMES}
    async with ScriptedProvider(scripted(**slow)) as provider:
        command = [sys.executable, str(Path(__file__).parent / "die_at.py"), step, "150", str(database)]
        command += [provider.base_url, *map(material_of, NAMES)]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        try:
            url = json.loads(await process.stdout.readline())["url"]
            answered = await load_until_death(url)
            assert await process.wait() == -9
        finally:
            if process.returncode is None:
                process.kill()
        calls_before = sum(tally.calls for tally in provider.ledger().keys.values())
        async with running_proxy(RouterSettings(database_url=str(database))) as proxy:
            events = list(proxy.node.reader.read())
            assert not proxy.node.state.open_requests
            calls_after = sum(tally.calls for tally in provider.ledger().keys.values())
    assert calls_after == calls_before, "recovery repeats no upstream call"
    assert [e.position for e in events] == list(range(1, len(events) + 1))
    versions = Counter(e.stream for e in events)
    latest = {e.stream: e.version for e in events}
    assert versions == Counter(latest), "no stream has a gap"
    requests = {e.stream for e in events if e.stream.startswith("request-")}
    last = {e.stream: e.event for e in events}
    assert all(isinstance(last[stream], ENDS) for stream in requests)
    completed = {e.stream for e in events if isinstance(e.event, RequestCompleted)}
    assert {f"request-{request_id}" for request_id in answered} <= completed
    decided = sum(isinstance(e.event, RouteDecided) for e in events)
    assert calls_before <= decided, "no call without a durable decision"
    assert verify(events).identical

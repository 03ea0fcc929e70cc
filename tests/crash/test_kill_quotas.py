"""kill -9 with requests under way: what they held is counted, never twice and never too little."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from loopback import material_of, scripted
from quota_givens import ask, ask_all, audited, calls, running_node

from apikeyrouter.application.replay import verify
from apikeyrouter.domain.events import RequestReleased
from apikeyrouter.interfaces.scripted_provider import KeyScript, ScriptedProvider
from apikeyrouter.settings import RouterSettings

NAMES = ("a", "b")
LIMIT = 60
LIMITS = {"rpd": LIMIT, "tpd": 20_000, "quota_window": "rolling", "quota_group": "org", "max_concurrency": 8}


async def killed_at(step: str, count: int, database: Path, provider: ScriptedProvider) -> None:
    """Run a node with 64 tasks until it has been killed."""
    command = [sys.executable, str(Path(__file__).parent / "die_with_quotas.py"), step, str(count)]
    command += [str(database), provider.base_url, json.dumps(LIMITS), *map(material_of, NAMES)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    try:
        async with asyncio.timeout(30):
            assert await process.wait() == -9
    finally:
        if process.returncode is None:
            process.kill()


def used_of(node, dimension: str) -> tuple[int, int]:
    """Return what is settled and what is reserved of the group's account."""
    accounts = node.state.quotas.accounts
    report = accounts.report(accounts.row_of(f"group-openai:org/{dimension}/day"), node.clock.now_us())
    return report.settled, report.reserved


@pytest.mark.parametrize(
    "plan",
    [
        [("decided", 40)],
        [("queued", 40)],
        [("answered", 20), ("recorded", 9)],
        [("durable", 35), ("settled", 5)],
    ],
    ids=lambda plan: "-".join(step for step, _ in plan),
)
async def test_a_limit_survives_kills(plan, tmp_path):
    """After each kill nothing is open, all that may have been used counts, and the rest is served exactly."""
    database = tmp_path / "log.db"
    slow = {name: KeyScript(latency_ms=(0, 20)) for name in NAMES}
    async with ScriptedProvider(scripted(**slow)) as provider:
        for step, count in plan:
            await killed_at(step, count, database, provider)
        called = calls(provider)
        async with running_node(RouterSettings(database_url=str(database), queue_timeout_s=20)) as node:
            settled, reserved = used_of(node, "requests")
            assert (reserved, used_of(node, "tokens")[1]) == (0, 0)
            assert called <= settled <= LIMIT
            assert not node.state.open_requests
            assert await ask_all(node, LIMIT - settled) == {200: LIMIT - settled}
            assert await ask(node) == 429
            assert used_of(node, "requests") == (LIMIT, 0)
            assert calls(provider) == called + LIMIT - settled <= LIMIT
            events = list(node.reader.read())
    audit = audited(events)
    assert not audit.faults, audit.faults[:10]
    assert not audit.open_holdings
    released = sum(isinstance(e.event, RequestReleased) and bool(e.event.key_id) for e in events)
    assert settled - called <= released
    assert verify(events).identical

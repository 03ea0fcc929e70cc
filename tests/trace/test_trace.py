"""An hour of real traffic through the proxy, over keys that fail, stall and throttle."""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from loopback import MODEL, running_proxy, scripted

from apikeyrouter.adapters.providers.httptools_transport import HttptoolsTransport
from apikeyrouter.adapters.providers.transport import Deadlines, HttpRequest
from apikeyrouter.application.audit import evidence_of
from apikeyrouter.domain.events import RouteDecided, RouteRefused
from apikeyrouter.interfaces.scripted_provider import Fault, FaultKind, KeyScript, ScriptedProvider
from apikeyrouter.interfaces.traffic import read_trace
from apikeyrouter.settings import RouterSettings

IN_FLIGHT = 128
FLAKY = Fault(kind=FaultKind.Status, status=500, probability=0.2)
KEYS = {
    "dead": KeyScript(faults=(Fault(kind=FaultKind.Status, status=401),)),
    "flaky": KeyScript(faults=(FLAKY,)),
    "slow": KeyScript(latency_ms=(20, 60)),
    "throttled": KeyScript(rpm=600),
    "dying": KeyScript(faults=(Fault(kind=FaultKind.Status, status=401, after=500),)),
    "garbled": KeyScript(faults=(Fault(kind=FaultKind.TruncatedJson, probability=0.05),)),
}


async def play(url: str, arrivals) -> Counter:
    """Send every arrival with its own sizes, streams and whole answers in turn; count the statuses."""
    transport, free, statuses = HttptoolsTransport(), asyncio.Semaphore(IN_FLIGHT), Counter()

    async def ask(number: int, arrival) -> None:
        prompt = "word " * min(arrival.input_tokens, 4000)
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": min(max(arrival.output_tokens, 1), 16),
            "stream": number % 4 == 0,
        }
        request = HttpRequest(
            method="POST",
            url=f"{url}/v1/chat/completions",
            headers=[("content-type", "application/json")],
            body=json.dumps(body).encode(),
            deadlines=Deadlines(),
        )
        try:
            response = await transport.send(request)
            await response.read(10_000_000)
            statuses[response.status] += 1
        finally:
            free.release()

    async with asyncio.TaskGroup() as group:
        for number, arrival in enumerate(arrivals):
            await free.acquire()
            group.create_task(ask(number, arrival))
    await transport.close()
    return statuses


async def test_the_whole_trace(trace_file, tmp_path):
    """Every request has a decision, every reference resolves, and a stranger's process decides the same."""
    database = str(tmp_path / "log.db")
    arrivals = list(read_trace(trace_file))
    plain = [f"plain{number}" for number in range(4)]
    async with (
        ScriptedProvider(scripted(*plain, **KEYS)) as provider,
        running_proxy(RouterSettings(database_url=database)) as proxy,
    ):
        await proxy.provide(provider, *plain, *KEYS)
        statuses = await play(proxy.base_url, arrivals)
        events = list(proxy.node.reader.read())
        assert not proxy.node.state.open_requests
    assert statuses == {200: len(arrivals)}
    places = {(e.stream, e.version) for e in events}
    decisions = [e for e in events if isinstance(e.event, RouteDecided | RouteRefused)]
    assert len({e.stream for e in decisions}) == len(arrivals)
    unresolved = [
        ref for e in decisions for ref in evidence_of(e.event) if (ref.stream, ref.version) not in places
    ]
    assert not unresolved
    assert [e.position for e in events] == list(range(1, len(events) + 1))
    verdict = verified_elsewhere(database)
    assert verdict["decisions"] == len(decisions)
    assert verdict["different"] == 0


def verified_elsewhere(database: str) -> dict:
    """Decide everything again in a fresh process with another hash seed, time zone and locale."""
    environment = {**os.environ, "PYTHONHASHSEED": "4242", "TZ": "Pacific/Kiritimati", "LC_ALL": "C"}
    command = [str(Path(sys.executable).parent / "apikeyrouter"), "replay", "verify", "--json"]
    done = subprocess.run(
        [*command, "--database", database], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)

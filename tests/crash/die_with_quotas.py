"""Ask with many tasks over keys with limits, and be killed without warning at the n-th passing of a step.

Usage: python die_with_quotas.py STEP COUNT DATABASE PROVIDER_URL METADATA MATERIAL…
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from quota_givens import ask, asking, running_node

from apikeyrouter.adapters.providers.openai import OpenAIAdapter
from apikeyrouter.application import route_request
from apikeyrouter.application.journal import Journal
from apikeyrouter.application.route_request import RouteRequest
from apikeyrouter.application.waiting import WaitingRoom
from apikeyrouter.settings import RouterSettings

STEPS = {
    "decided": (route_request, "decide_twice"),
    "recorded": (RouteRequest, "_admit"),
    "queued": (WaitingRoom, "_try"),
    "durable": (Journal, "settled"),
    "answered": (OpenAIAdapter, "execute"),
    "settled": (RouteRequest, "settle"),
}
TASKS = 64


def arm(step: str, count: int) -> None:
    """Put the bomb behind the step."""
    holder, name = STEPS[step]
    inner = getattr(holder, name)
    passed = 0

    def tick() -> None:
        nonlocal passed
        passed += 1
        if passed == count:
            os.kill(os.getpid(), signal.SIGKILL)

    if asyncio.iscoroutinefunction(inner):

        async def outer(*args, **kwargs):
            result = await inner(*args, **kwargs)
            tick()
            return result
    else:

        def outer(*args, **kwargs):
            result = inner(*args, **kwargs)
            tick()
            return result

    setattr(holder, name, outer)


async def main() -> None:
    step, count, database, provider_url, metadata, *materials = sys.argv[1:]
    settings = RouterSettings(database_url=database, queue_timeout_s=20, synchronous="NORMAL")
    async with running_node(settings) as node:
        if not node.state.keys:
            adapter = OpenAIAdapter(base_url=provider_url)
            await node.manage.register_provider("openai", adapter, actor="test")
            for material in materials:
                await node.manage.register_key(material, "openai", json.loads(metadata), actor="test")
        arm(step, int(count))
        print("armed", flush=True)

        async def client(number: int) -> None:
            while True:
                await ask(node, asking(f"c{number % 4}", stream=number % 3 == 0))

        await asyncio.gather(*(client(number) for number in range(TASKS)))


asyncio.run(main())

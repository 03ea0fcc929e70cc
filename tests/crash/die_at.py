"""Serve a proxy that kills itself, without warning, at the n-th passing of one step of the line.

Usage: python die_at.py STEP COUNT DATABASE PROVIDER_URL MATERIAL…
"""

import asyncio
import json
import os
import signal
import sys

import uvicorn

from apikeyrouter.adapters.providers.openai import OpenAIAdapter
from apikeyrouter.application import route_request
from apikeyrouter.application.journal import Journal
from apikeyrouter.application.request_record import RequestRecord
from apikeyrouter.application.route_request import RouteRequest
from apikeyrouter.interfaces.http import openai_api, plain_routes
from apikeyrouter.interfaces.http.app import Proxy
from apikeyrouter.settings import RouterSettings

STEPS = {
    "parsed": (openai_api, "parse_chat"),
    "decided": (route_request, "decide_twice"),
    "recorded": (RouteRequest, "_admit"),
    "durable": (Journal, "settled"),
    "sent": (OpenAIAdapter, "_request"),
    "answered": (OpenAIAdapter, "execute"),
    "settling": (RequestRecord, "_served"),
    "settled": (RouteRequest, "settle"),
}


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
    if step == "parsed":

        async def chat(node, scope, receive, send):
            await openai_api._serve(node, scope, receive, send, outer)

        plain_routes._POSTS["/v1/chat/completions"] = chat


async def main() -> None:
    step, count, database, provider_url, *materials = sys.argv[1:]
    proxy = Proxy(RouterSettings(database_url=database))
    server = uvicorn.Server(uvicorn.Config(proxy, port=0, log_config=None, lifespan="on"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    await proxy.node.manage.register_provider("openai", OpenAIAdapter(base_url=provider_url), actor="test")
    for material in materials:
        await proxy.node.manage.register_key(material, "openai", actor="test")
    arm(step, int(count))
    port = server.servers[0].sockets[0].getsockname()[1]
    print(json.dumps({"url": f"http://127.0.0.1:{port}"}), flush=True)
    await serving


asyncio.run(main())

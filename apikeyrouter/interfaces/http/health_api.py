"""Health for orchestrators, metrics for Prometheus: asked for every few seconds, so plain ASGI."""

import asyncio

from apikeyrouter.adapters.telemetry.standing import standing_of
from apikeyrouter.bootstrap import Node
from apikeyrouter.interfaces.http.asgi import Receive, Scope, Send, send_json, send_page
from apikeyrouter.interfaces.seal_views import seals_view

METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


async def ready(node: Node, _scope: Scope, _receive: Receive, send: Send) -> None:
    """Tell whether requests can be served: false while the log cannot be written; and how its seals stand."""
    seals = node.seals()
    told = {**node.summary(), "seals": None if seals is None else seals_view(seals)}
    status = "ok" if node.ready else "audit_unavailable"
    await send_json(send, {"status": status, **told}, 200 if node.ready else 503)


async def live(_node: Node, _scope: Scope, _receive: Receive, send: Send) -> None:
    """Tell that the process runs."""
    await send_json(send, {"status": "ok"})


async def metrics(node: Node, _scope: Scope, _receive: Receive, send: Send) -> None:
    """Return the metrics in Prometheus' text format; in a thread, because rendering takes its time."""
    standing = None
    if node.metrics.is_stale:
        standing = standing_of(node.state, node.clock.now_us())._replace(seals=node.seals())
    text = await asyncio.to_thread(node.metrics.render, standing)
    await send_page(send, METRICS_TYPE, text)

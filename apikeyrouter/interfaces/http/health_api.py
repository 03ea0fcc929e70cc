"""Health for orchestrators, metrics for Prometheus."""

import asyncio
from typing import Any

from fastapi import APIRouter, Response

from apikeyrouter.adapters.telemetry.standing import standing_of
from apikeyrouter.interfaces.http.node_access import NodeDependency
from apikeyrouter.interfaces.seal_views import seals_view

router = APIRouter(tags=["health"])


@router.get("/health")
@router.get("/health/ready")
async def ready(node: NodeDependency, response: Response) -> dict[str, Any]:
    """Tell whether requests can be served: false while the log cannot be written; and how its seals stand."""
    if not node.ready:
        response.status_code = 503
    seals = node.seals()
    told = {**node.summary(), "seals": None if seals is None else seals_view(seals)}
    return {"status": "ok" if node.ready else "audit_unavailable", **told}


@router.get("/health/live")
async def live() -> dict[str, str]:
    """Tell that the process runs."""
    return {"status": "ok"}


@router.get("/metrics", response_class=Response)
async def metrics(node: NodeDependency) -> Response:
    """Return the metrics in Prometheus' text format; in a thread, because rendering takes its time."""
    standing = None
    if node.metrics.is_stale:
        standing = standing_of(node.state, node.clock.now_us())._replace(seals=node.seals())
    text = await asyncio.to_thread(node.metrics.render, standing)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

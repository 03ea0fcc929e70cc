"""Questions to the log: the trail of a request, and the events themselves."""

import asyncio
from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from apikeyrouter.application.audit import event_as_data, trail
from apikeyrouter.application.retention.gaps import missing_segments
from apikeyrouter.bootstrap import Node
from apikeyrouter.interfaces.http.headers import ARCHIVED_HEADER
from apikeyrouter.interfaces.http.node_access import NodeDependency

MOST_EVENTS = 1000

router = APIRouter(tags=["audit"])


@router.get("/requests/{request_id}")
async def request_trail(request_id: str, node: NodeDependency) -> dict[str, Any]:
    """Return a request's events, its decisions in sentences, and their evidence."""
    return (await asyncio.to_thread(trail, node.reader, request_id)).as_data()


@router.get("/events")
async def events(
    node: NodeDependency,
    response: Response,
    after: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_EVENTS)] = 100,
) -> list[dict[str, Any]]:
    """Return events in the order of their positions; `x-archived-in` names segments with those in between."""
    page, archived = await asyncio.to_thread(_page, node, after, limit)
    if archived:
        response.headers[ARCHIVED_HEADER] = archived
    return page


def _page(node: Node, after: int, limit: int) -> tuple[list[dict[str, Any]], str]:
    page = [event_as_data(recorded) for recorded in islice(node.reader.read(after), limit)]
    until = page[-1]["position"] if page else None
    return page, ", ".join(segment.name for segment in missing_segments(node.reader, after, until))

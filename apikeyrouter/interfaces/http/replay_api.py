"""The state, now and at any past, and requests and decisions made again from the log."""

import asyncio
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query

from apikeyrouter.adapters.retention.opening import whole_log
from apikeyrouter.application.as_of import moment_of, state_at
from apikeyrouter.application.audit import trail
from apikeyrouter.application.reenact import reenact
from apikeyrouter.application.replay import verify_past
from apikeyrouter.application.retrace import end_of, retrace
from apikeyrouter.bootstrap import Node
from apikeyrouter.domain.events import RequestFacts
from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.domain.objectives import policy_of
from apikeyrouter.domain.state import RouterState
from apikeyrouter.interfaces.http.node_access import NodeDependency
from apikeyrouter.interfaces.request_replays import replay_view
from apikeyrouter.interfaces.state_views import CANDIDATES, candidates_view, state_view

router = APIRouter(tags=["replay"])

Position = Annotated[int, Query(ge=1)]
Tokens = Annotated[int, Query(ge=0)]
At = Annotated[
    str | None,
    Query(description="A position of the log, or a time such as 2026-03-01T12:00:00Z; the past is folded."),
]


@router.get("/state")
async def state(  # noqa: PLR0913, PLR0917 - the query's own parameters
    node: NodeDependency,
    at: At = None,
    scope: str | None = None,
    model: str | None = None,
    provider: str | None = None,
    objective: str = "fairness",
    input_tokens: Tokens = 0,
    output_tokens: Tokens = 0,
) -> dict[str, Any]:
    """Show a part of the state as it is, or as it was: keys, quotas, prices, candidates for a model."""
    if at is None and scope is None:
        return node.summary()
    if scope != CANDIDATES:
        return await _seen(node, at, scope or "summary")
    if model is None:
        raise InvalidRequestError("candidates are those for a model", param="model")
    facts = RequestFacts(
        operation="chat",
        model=model,
        provider_id=provider,
        input_tokens_bound=input_tokens,
        output_tokens_bound=output_tokens,
    )
    return candidates_view(await _state(node, at), facts, policy_of(objective))


@router.get("/replay/requests/{request_id}")
async def replay_request(request_id: str, node: NodeDependency) -> dict[str, Any]:
    """Show what each event of a request changed, and what came of sending it through the line again."""
    return await asyncio.to_thread(_replayed, node, request_id)


@router.get("/replay/verify")
async def replay_verify(
    node: NodeDependency,
    first: Annotated[int, Query(alias="from", ge=1)] = 1,
    last: Annotated[int | None, Query(alias="to", ge=1)] = None,
) -> dict[str, Any]:
    """Make every recorded decision of a range again, and compare the bytes."""
    log, head = whole_log(node.settings, node.reader), node.journal.log.head
    end = head if last is None else min(last, head)
    found = await asyncio.to_thread(verify_past, log, first=first, last=end, snapshots=node.snapshots)
    return {**msgspec.to_builtins(found), "identical": found.identical}


async def _seen(node: Node, at: str | None, scope: str) -> dict[str, Any]:
    return state_view(await _state(node, at), scope)


async def _state(node: Node, at: str | None) -> RouterState:
    if at is None:
        return node.state
    log = whole_log(node.settings, node.reader)
    return await asyncio.to_thread(state_at, log, moment_of(at), node.snapshots)


def _replayed(node: Node, request_id: str) -> dict[str, Any]:
    own = trail(node.reader, request_id).events
    until = end_of(own)
    log = whole_log(node.settings, node.reader)
    steps = retrace(log.read(until=until, as_of=own[0].position), own[0].stream, own)
    again = reenact(log.read(until=until, as_of=own[0].position), own)
    return replay_view(request_id, steps, again)

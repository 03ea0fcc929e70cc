"""Management of retention: how long requests are kept, what must stay, and letting go of the rest."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from apikeyrouter.application.as_of import moment_of
from apikeyrouter.bootstrap import Node
from apikeyrouter.domain.holds import HoldAsked
from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.interfaces.http.node_access import Actor, NodeDependency
from apikeyrouter.interfaces.retention_views import (
    hold_view,
    parse_keep,
    placed_view,
    policy_view,
    run_view,
    status_view,
)

router = APIRouter(tags=["retention"])


class NewRetention(BaseModel):
    """How long requests are kept: 400d, 60w, 2y or forever."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"keep": "400d"}]})

    keep: str


class Apply(BaseModel):
    """What is let go: what the retention lets, or only what is before an instant."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"until": "2026-01-01T00:00:00Z"}]}
    )

    until: str | None = None
    archive: str | None = Field(default=None, description="Another folder on the server for the segments.")


class NewHold(BaseModel):
    """What must stay: a client, a subject, a request, a period or everything; and why."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"scope": "client", "scope_id": "acme", "reason": "case 17"}]},
    )

    scope: str
    scope_id: str | None = None
    since: str | None = None
    until: str | None = None
    reason: str


class Release(BaseModel):
    """Why a hold is over."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "case closed"}]})

    reason: str


@router.get("/retention")
async def status(node: NodeDependency) -> dict[str, Any]:
    """Tell the policy, the segments, the holds, and how far the last run has come."""
    return await _status(node)


@router.post("/retention")
async def set_retention(new: NewRetention, node: NodeDependency, actor: Actor) -> dict[str, Any]:
    """Say how long requests are kept; nothing is dropped by this alone."""
    await node.retaining.set(parse_keep(new.keep), actor=actor)
    return policy_view(node.state.retention)


@router.get("/retention/outlook")
async def outlook(
    node: NodeDependency, until: Annotated[str | None, Query(description="Only what is before.")] = None
) -> dict[str, Any]:
    """Tell what would leave the log if it was let go now; nothing changes."""
    return run_view(await node.retaining.dropping.outlook(instant_of(until, "until")))


@router.post("/retention/apply", status_code=202)
async def apply(asked: Apply, node: NodeDependency, actor: Actor) -> dict[str, Any]:
    """Begin to archive and drop what may go; `GET /retention` tells how far it has come."""
    folder = None if asked.archive is None else absolute(asked.archive)
    until_us = instant_of(asked.until, "until")
    return run_view(node.retaining.dropping.begin(actor=actor, until_us=until_us, folder=folder))


@router.get("/retention/holds")
async def holds(node: NodeDependency) -> list[dict[str, Any]]:
    """List the holds in force."""
    return [hold_view(hold) for hold in node.state.holds.by_id.values()]


@router.post("/retention/holds", status_code=201)
async def place(new: NewHold, node: NodeDependency, actor: Actor) -> dict[str, Any]:
    """Hold what a scope covers; `left_before` names segments with what left the log before the hold."""
    asked = HoldAsked(
        scope=new.scope,
        scope_id=new.scope_id,
        since_us=instant_of(new.since, "since"),
        until_us=instant_of(new.until, "until"),
        reason=new.reason,
    )
    return placed_view(await node.retaining.place(asked, actor=actor))


@router.post("/retention/holds/{hold_id}/release")
async def release(hold_id: str, told: Release, node: NodeDependency, actor: Actor) -> dict[str, Any]:
    """End a hold."""
    return hold_view(await node.retaining.release(hold_id, actor=actor, reason=told.reason))


def instant_of(text: str | None, param: str) -> int | None:
    """Read an instant in ISO 8601, in UTC where it has no offset."""
    if text is None:
        return None
    moment = moment_of(text)
    if moment.position is not None:
        raise InvalidRequestError(f"{param} is a time such as 2026-03-01T12:00:00Z", param=param)
    return moment.at_us


def absolute(folder: str) -> Path:
    """Refuse a folder that would mean another place to the server than to whoever names it."""
    path = Path(folder)
    if not path.is_absolute():
        raise InvalidRequestError("the folder of an archive is named from the root on", param="archive")
    return path


async def _status(node: Node) -> dict[str, Any]:
    dropping = node.retaining.dropping
    names = await asyncio.to_thread(dropping.names)
    return status_view(node.state, names, dropping.run)

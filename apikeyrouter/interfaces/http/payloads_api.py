"""Kept bodies: whose are kept, what there is, what it says, and its erasure.

Persons stand in bodies alone, never in an address: addresses get into logs of all kinds.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from apikeyrouter.application.payloads.terms import parse_keep
from apikeyrouter.interfaces.http.node_access import Actor, NodeDependency
from apikeyrouter.interfaces.payload_views import (
    captures_view,
    check_view,
    opened_view,
    payload_view,
    payloads_view,
    receipt_view,
)

router = APIRouter(tags=["payloads"])


class CaptureChange(BaseModel):
    """Whose bodies are to be kept, and how long, or no longer; `keep` is a text such as 30d."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"client_id": "acme", "enabled": True, "keep": "30d", "reason": "complaint 17"}]
        },
    )

    client_id: str
    enabled: bool
    keep: str | None = None
    reason: str | None = None


class WhoIsMeant(BaseModel):
    """A person as a client names it; none: the client itself, or whoever is known of it."""

    model_config = ConfigDict(extra="forbid")

    client_id: str
    subject: str | None = Field(default=None, min_length=1)


class ErasureOrder(WhoIsMeant):
    """Whose bodies are to be erased; without a subject those of every person of the client."""

    reason: str | None = None


class ReadingReason(BaseModel):
    """Why somebody looks."""

    model_config = ConfigDict(extra="forbid")

    reason: str | None = None


@router.get("/payloads/capture")
async def captures(node: NodeDependency) -> list[dict[str, Any]]:
    """List the clients whose bodies are kept."""
    return captures_view(node.state)


@router.post("/payloads/capture")
async def set_capture(asked: CaptureChange, node: NodeDependency, actor: Actor) -> list[dict[str, Any]]:
    """Keep the bodies of a client's requests from now on, or those of no more of them."""
    terms = node.payloads.terms
    if asked.enabled:
        keep_us = None if asked.keep is None else parse_keep(asked.keep)
        await terms.switch_on(asked.client_id, actor=actor, keep_us=keep_us, reason=asked.reason)
    else:
        await terms.switch_off(asked.client_id, actor=actor, reason=asked.reason)
    return captures_view(node.state)


@router.get("/payloads")
async def listed(
    node: NodeDependency,
    client_id: str | None = None,
    subject: Annotated[str | None, Query(description="A pseudonym.")] = None,
    after: Annotated[str, Query(description="Those behind this request.")] = "",
    limit: Annotated[int, Query(ge=1)] = 100,
) -> list[dict[str, Any]]:
    """List what is kept, unopened, in the order of the requests."""
    found = await node.payloads.reading.listed(client_id=client_id, subject=subject, after=after, limit=limit)
    return payloads_view(found)


@router.post("/payloads/pseudonym")
async def pseudonym(who: WhoIsMeant, node: NodeDependency) -> dict[str, str]:
    """Tell the name under which a client's person, or the client itself, appears in events."""
    return {"subject": node.payloads.reading.pseudonym(who.client_id, who.subject)}


@router.get("/payloads/check")
async def check(node: NodeDependency) -> dict[str, Any]:
    """Compare every sealed body with what the log says of it."""
    return check_view(await node.payloads.check())


@router.post("/payloads/expire")
async def expire(node: NodeDependency) -> dict[str, Any]:
    """Delete what is older than it may be kept, as happens every hour."""
    return {"expired": await node.payloads.expiring.expire()}


@router.get("/payloads/erasures")
async def erasures(node: NodeDependency) -> list[dict[str, Any]]:
    """List the receipts of all erasures."""
    erasing = node.payloads.erasing
    return [await receipt_view(node, await erasing.receipt(one)) for one in erasing.erasure_ids()]


@router.post("/payloads/erasures")
async def erase(order: ErasureOrder, node: NodeDependency, actor: Actor) -> dict[str, Any]:
    """Destroy the keys of a person, or of all persons of a client; the answer is the receipt."""
    erasing = node.payloads.erasing
    erasure = await erasing.erase(order.client_id, order.subject, actor=actor, reason=order.reason)
    return await receipt_view(node, erasure)


@router.get("/payloads/erasures/{erasure_id}")
async def receipt(erasure_id: str, node: NodeDependency) -> dict[str, Any]:
    """Return the receipt of an erasure, with proofs once it is sealed."""
    return await receipt_view(node, await node.payloads.erasing.receipt(erasure_id))


@router.get("/payloads/{request_id}")
async def about(request_id: str, node: NodeDependency) -> dict[str, Any]:
    """Tell what is kept of a request, unopened."""
    return payload_view(await node.payloads.reading.about(request_id))


@router.post("/payloads/{request_id}/readings")
async def show(request_id: str, asked: ReadingReason, node: NodeDependency, actor: Actor) -> dict[str, Any]:
    """Unseal the bodies of a request; who does that, and why, is recorded first."""
    return opened_view(await node.payloads.reading.show(request_id, actor=actor, reason=asked.reason))

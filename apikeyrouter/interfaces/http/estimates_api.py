"""Estimates before requests are made, and how good those of past requests were."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from apikeyrouter.domain.models.cost_estimate import EstimateAccuracy, RequestEstimate
from apikeyrouter.interfaces.estimate_views import accuracy_view, estimate_view
from apikeyrouter.interfaces.http.asgi import read_body
from apikeyrouter.interfaces.http.callers import caller_of
from apikeyrouter.interfaces.http.node_access import NodeDependency
from apikeyrouter.interfaces.http.openai_requests import parse_chat

router = APIRouter(tags=["estimates"])

MOST_TOKENS = 2**31 - 1


@router.post(
    "/estimates",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"type": "object"},
                    "example": {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello!"}]},
                }
            },
        }
    },
)
async def estimate(
    request: Request,
    node: NodeDependency,
    input_tokens: Annotated[
        int | None,
        Query(ge=0, le=MOST_TOKENS, description="The input's length, where the messages do not hold it."),
    ] = None,
) -> RequestEstimate:
    """Tell what a chat completion with this body and these headers would cost, and who would serve it.

    Nothing is sent to a provider, reserved or recorded.
    """
    raw = await read_body(request.scope, request.receive, node.settings.max_body_bytes)
    asked = parse_chat(raw, node.state, caller_of(node, request.scope))
    return estimate_view(node, asked.order, input_tokens)


@router.get("/estimates/accuracy")
async def accuracy(node: NodeDependency) -> list[EstimateAccuracy]:
    """Compare bound, expected and actual cost, for every model of every provider."""
    return accuracy_view(node.state)

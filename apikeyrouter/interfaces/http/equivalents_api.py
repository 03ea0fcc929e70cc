"""Which models may stand in for which: equals always, cheaper ones where a downgrade is allowed."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from apikeyrouter.domain.models.system_error import InvalidRequestError, NotFoundError
from apikeyrouter.interfaces.http.node_access import Actor, NodeDependency
from apikeyrouter.interfaces.model_views import equivalents_view

router = APIRouter(tags=["models"])


class Equivalents(BaseModel):
    """What may serve requests for a model. It replaces what was said of that model before."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"model": "gpt-4o", "equivalents": ["gpt-4o-2024-11-20"], "cheaper": ["gpt-4o-mini"]}
            ]
        },
    )

    model: str
    equivalents: list[str] = []
    cheaper: list[str] = []


@router.get("/models/equivalents")
async def list_equivalents(node: NodeDependency) -> list[dict[str, Any]]:
    """List the models that others may stand in for, in the order in which it was said."""
    return [equivalents_view(said) for said in node.state.equated.values()]


@router.post("/models/equivalents")
async def equate(said: Equivalents, node: NodeDependency, actor: Actor) -> dict[str, Any]:
    """Say what may serve requests for a model; only models that providers list are chosen."""
    if not said.equivalents and not said.cheaper:
        raise InvalidRequestError(
            "name equivalents or cheaper models; DELETE takes back what was said", param="equivalents"
        )
    await node.budgets.equate(said.model, tuple(said.equivalents), tuple(said.cheaper), actor=actor)
    return equivalents_view(node.state.equated[said.model])


@router.delete("/models/equivalents")
async def clear(model: Annotated[str, Query()], node: NodeDependency, actor: Actor) -> dict[str, Any]:
    """Let only the model itself serve requests for it again."""
    if model not in node.state.equated:
        raise NotFoundError(f"nothing is said to stand in for {model[:200]!r}", param="model")
    await node.budgets.equate(model, (), (), actor=actor)
    return {"model": model, "equivalents": [], "cheaper": []}

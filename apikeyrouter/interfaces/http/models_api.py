"""`GET /v1/models`: the models that registered providers offer."""

from typing import Any

from fastapi import APIRouter

from apikeyrouter.domain.models.system_error import NotFoundError
from apikeyrouter.domain.state import RouterState
from apikeyrouter.interfaces.http.node_access import NodeDependency

router = APIRouter(tags=["openai"])


@router.get("/v1/models")
async def list_models(node: NodeDependency) -> dict[str, Any]:
    """List the models that can be asked for by name; providers that list none accept any."""
    return {"object": "list", "data": _models(node.state)}


@router.get("/v1/models/{model:path}")
async def get_model(model: str, node: NodeDependency) -> dict[str, Any]:
    """Return one model."""
    found = next((entry for entry in _models(node.state) if entry["id"] == model), None)
    if found is None:
        raise NotFoundError(f"the model {model[:200]!r} is not listed", code="model_not_found", param="model")
    return found


def _models(state: RouterState) -> list[dict[str, Any]]:
    owners: dict[str, str] = {}
    for provider in state.providers.values():
        for model in provider.models:
            owners.setdefault(model, provider.provider_id)
    return [
        {"id": model, "object": "model", "created": 0, "owned_by": owner}
        for model, owner in sorted(owners.items())
    ]

"""`GET /v1/models`: the models that registered providers offer. Clients ask as they start: plain ASGI."""

from typing import Any

from apikeyrouter.bootstrap import Node
from apikeyrouter.domain.models.system_error import NotFoundError
from apikeyrouter.domain.state import RouterState
from apikeyrouter.interfaces.http.asgi import Receive, Scope, Send, send_json
from apikeyrouter.interfaces.http.openai_errors import send_error

MODELS = "/v1/models"


async def list_models(node: Node, _scope: Scope, _receive: Receive, send: Send) -> None:
    """List the models that can be asked for by name; providers that list none accept any."""
    await send_json(send, {"object": "list", "data": _models(node.state)})


async def get_model(node: Node, scope: Scope, _receive: Receive, send: Send) -> None:
    """Return one model; its name may have slashes."""
    model = scope["path"].removeprefix(f"{MODELS}/")
    found = next((entry for entry in _models(node.state) if entry["id"] == model), None)
    if found is not None:
        await send_json(send, found)
        return
    told = f"the model {model[:200]!r} is not listed"
    await send_error(send, NotFoundError(told, code="model_not_found", param="model"))


def _models(state: RouterState) -> list[dict[str, Any]]:
    owners: dict[str, str] = {}
    for provider in state.providers.values():
        for model in provider.models:
            owners.setdefault(model, provider.provider_id)
    return [
        {"id": model, "object": "model", "created": 0, "owned_by": owner}
        for model, owner in sorted(owners.items())
    ]

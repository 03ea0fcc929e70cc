"""Models as administrators see them: who lists them, and which may stand in for which."""

from typing import Any

from apikeyrouter.domain.events import ModelsEquated
from apikeyrouter.domain.state import RouterState
from apikeyrouter.domain.windows import moment


def equivalents_view(said: ModelsEquated) -> dict[str, Any]:
    """Tell what may serve requests for a model, by whose word, and since when."""
    return {
        "model": said.model,
        "equivalents": list(said.equivalents),
        "cheaper": list(said.cheaper),
        "actor": said.actor,
        "said_at": moment(said.at_us).isoformat(),
    }


def models_view(state: RouterState) -> list[dict[str, Any]]:
    """List every model that a provider lists or that somebody spoke of, by name."""
    listed: dict[str, list[str]] = {}
    for provider in state.providers.values():
        for model in provider.models:
            listed.setdefault(model, []).append(provider.provider_id)
    spoken = {
        name for said in state.equated.values() for name in (said.model, *said.equivalents, *said.cheaper)
    }
    return [_model(state, model, listed.get(model, [])) for model in sorted(listed.keys() | spoken)]


def _model(state: RouterState, model: str, providers: list[str]) -> dict[str, Any]:
    said = state.equated.get(model)
    return {
        "model": model,
        "providers": providers,
        "equivalents": [] if said is None else list(said.equivalents),
        "cheaper": [] if said is None else list(said.cheaper),
    }

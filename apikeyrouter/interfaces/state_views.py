"""A state at one instant as users see it, part by part: the same views for the present and for any past."""

from collections.abc import Callable
from typing import Any

import msgspec

from apikeyrouter.domain.events import Policy, RequestFacts, RouteDecided
from apikeyrouter.domain.explanation import explain
from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.domain.questions import RouteQuestion
from apikeyrouter.domain.request_folds import OpenRequest
from apikeyrouter.domain.routing import decide
from apikeyrouter.domain.state import RouterState
from apikeyrouter.interfaces.budget_views import budget_view
from apikeyrouter.interfaces.price_views import summary_view
from apikeyrouter.interfaces.quota_views import Outlook, account_forecast, account_quota
from apikeyrouter.interfaces.views import api_key, provider_view, zulu

CANDIDATES = "candidates"


def state_view(state: RouterState, scope: str) -> dict[str, Any]:
    """Show one part of a state, with the position and the time that it stands at."""
    view = SCOPES.get(scope)
    if view is None:
        known = ", ".join((*SCOPES, CANDIDATES))
        raise InvalidRequestError(f"unknown scope {scope[:40]!r}; choose one of {known}", param="scope")
    return {**_place(state, scope), scope: view(state)}


def candidates_view(state: RouterState, facts: RequestFacts, policy: Policy, seed: int = 0) -> dict[str, Any]:
    """Show what a request would have been decided to at this state; nothing is recorded or moved by that."""
    question = RouteQuestion(
        facts=facts, policy=policy, attempt=1, tried=(), at_us=state.latest_us, seed=seed
    )
    decision = decide(state, question)
    chosen = decision.chosen.key_id if isinstance(decision, RouteDecided) else None
    data = msgspec.to_builtins(decision)
    shown = {
        "chosen": chosen,
        "explanation": explain(decision),
        "candidates": [data["chosen"], *data.get("others", ())] if chosen else [],
        "excluded": data.get("excluded", {}),
        "exclusions": data.get("exclusions", []),
    }
    return {**_place(state, CANDIDATES), CANDIDATES: shown}


def _place(state: RouterState, scope: str) -> dict[str, Any]:
    return {"position": state.position, "at": _time(state.latest_us), "scope": scope}


def _summary(state: RouterState) -> dict[str, Any]:
    by_state: dict[str, int] = {}
    for key in state.keys.values():
        by_state[key.state] = by_state.get(key.state, 0) + 1
    return {
        "keys": by_state,
        "providers": sorted(state.providers),
        "open_requests": len(state.open_requests),
        "accounts": len(state.quotas.by_row),
        "budgets": len(state.budgets.by_row),
        "denied_models": len(state.denied),
    }


def _keys(state: RouterState) -> list[dict[str, Any]]:
    outlook = Outlook(state, state.latest_us)
    return [
        api_key(state, key).model_dump(mode="json")
        | {"quota": outlook.quota_state(key).model_dump(mode="json")}
        for key in state.keys.values()
    ]


def _quotas(state: RouterState) -> list[dict[str, Any]]:
    return [account_quota(one).model_dump(mode="json") for one in Outlook(state, state.latest_us).standings()]


def _forecasts(state: RouterState) -> list[dict[str, Any]]:
    standings = Outlook(state, state.latest_us).standings()
    return [account_forecast(one).model_dump(mode="json") for one in standings]


def _providers(state: RouterState) -> list[dict[str, Any]]:
    return [provider_view(state, provider) for provider in state.providers.values()]


def _budgets(state: RouterState) -> list[dict[str, Any]]:
    budgets = state.budgets.by_row
    return [budget_view(state, budget, state.latest_us).model_dump(mode="json") for budget in budgets]


def _requests(state: RouterState) -> list[dict[str, Any]]:
    return [_open_request(stream, request) for stream, request in state.open_requests.items()]


def _open_request(stream: str, request: OpenRequest) -> dict[str, Any]:
    held = request.share.holding.entries if request.share is not None else ()
    return {
        "request_id": stream.removeprefix("request-"),
        "version": request.version,
        "attempt": request.attempt,
        "calling": request.key_id,
        "model": request.model,
        "holds": sum(1 for entry in held if entry.is_held),
    }


def _time(at_us: int) -> str | None:
    return zulu(at_us) if at_us else None


SCOPES: dict[str, Callable[[RouterState], Any]] = {
    "summary": _summary,
    "keys": _keys,
    "quotas": _quotas,
    "forecasts": _forecasts,
    "budgets": _budgets,
    "providers": _providers,
    "prices": summary_view,
    "requests": _requests,
}
"""What can be asked of a state; whatever else the fold comes to hold gets its line here."""

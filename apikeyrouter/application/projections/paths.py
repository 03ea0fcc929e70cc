"""From what a request asked for, and what was chosen for it, to the path that its rows refer to."""

from apikeyrouter.application.projections.tables import CallPath
from apikeyrouter.domain.events import RequestFacts, RouteDecided


def path_of(facts: RequestFacts, objective: str | None) -> CallPath:
    """Return the path of a request that no key was chosen for."""
    return CallPath(facts.client_id, facts.team, facts.operation, objective, facts.model)


def path_of_choice(decided: RouteDecided) -> CallPath:
    """Return the path of a call; its model is the one that the provider is asked for."""
    facts, chosen = decided.facts, decided.chosen
    return CallPath(
        facts.client_id,
        facts.team,
        facts.operation,
        decided.policy.objective,
        decided.model,
        chosen.provider_id,
        chosen.key_id,
    )

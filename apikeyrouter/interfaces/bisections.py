"""Bisections as users ask for them and see them: a recorded request or a made-up one, and what turned it."""

from typing import Any

import msgspec

from apikeyrouter.application.audit import event_as_data, trail
from apikeyrouter.application.ports import EventFinder
from apikeyrouter.application.replay import question_of
from apikeyrouter.application.turning_point import Bisection
from apikeyrouter.domain.events import RequestFacts, RouteDecided, RouteRefused
from apikeyrouter.domain.explanation import consequence, explain
from apikeyrouter.domain.models.system_error import NotFoundError
from apikeyrouter.domain.objectives import policy_of
from apikeyrouter.domain.questions import RouteQuestion


def recorded_question(reader: EventFinder, request_id: str) -> tuple[RouteQuestion, int]:
    """Return what a recorded request asked, and the position behind which it asked."""
    events = (recorded.event for recorded in trail(reader, request_id).events)
    decision = next((one for one in events if isinstance(one, RouteDecided | RouteRefused)), None)
    if decision is None:
        raise NotFoundError(f"request {request_id[:64]} never came to a decision", param="request_id")
    return question_of(decision), max(decision.as_of, 1)


def made_up_question(model: str, provider: str | None, objective: str) -> RouteQuestion:
    """Return the question for a model, as if a short chat asked for it."""
    facts = RequestFacts(operation="chat", model=model, provider_id=provider)
    return RouteQuestion(facts=facts, policy=policy_of(objective), attempt=1, tried=(), at_us=0, seed=0)


def bisection_view(found: Bisection) -> dict[str, Any]:
    """Show where it was asked, what is answered now, and the event behind which that began."""
    told = {name: getattr(found, name) for name in ("first", "last", "asked", "passes", "now")}
    turn = found.turn
    if turn is None:
        return {**told, "turn": None}
    return {
        **told,
        "turn": {
            "event": event_as_data(turn.event),
            "explanation": consequence(turn.event.event),
            "before": {"explanation": explain(turn.before), "decision": msgspec.to_builtins(turn.before)},
            "after": {"explanation": explain(turn.after), "decision": msgspec.to_builtins(turn.after)},
        },
    }

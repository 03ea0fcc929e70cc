"""A tighter bound of the input, counted only where the bytes of a body would refuse what may well fit."""

from typing import Final

import msgspec

from apikeyrouter.application.countable_input import CountTokens, countable
from apikeyrouter.domain.downgrades import pool_within_budget
from apikeyrouter.domain.events import RouteDecided, RouteRefused
from apikeyrouter.domain.questions import RouteQuestion
from apikeyrouter.domain.routing import decide
from apikeyrouter.domain.state import RouterState

FRAMING_TOKENS: Final = 16
"""What a chat template may add beside the framing that is published; reasoning models add a token or two."""


def decide_twice(
    state: RouterState, question: RouteQuestion, body: bytes, count: CountTokens | None
) -> tuple[RouteQuestion, RouteDecided | RouteRefused]:
    """Decide, and once more with the input counted if a budget refuses; return what was asked in the end."""
    decision = decide(state, question)
    if count is None or not isinstance(decision, RouteRefused) or decision.shortfall is None:
        return question, decision
    pool, _, _ = pool_within_budget(state, question)
    bound = counted_bound(question.facts.operation, body, {member.model for member in pool.members}, count)
    if bound is None or bound >= question.facts.input_tokens_bound:
        return question, decision
    facts = msgspec.structs.replace(question.facts, input_tokens_bound=bound)
    question = msgspec.structs.replace(question, facts=facts)
    return question, decide(state, question)


def counted_bound(operation: str, body: bytes, models: set[str], count: CountTokens) -> int | None:
    """Bound an input by what each of the models makes of its texts; None where any of them is not known."""
    found = countable(operation, body)
    if found is None or not models:
        return None
    tokens = [count(model, found.texts) for model in sorted(models)]
    known = [each for each in tokens if each is not None]
    return max(known) + found.tokens + FRAMING_TOKENS if len(known) == len(tokens) else None

"""A tighter bound of the input, counted only where the bytes of a body would refuse what may well fit."""

from typing import Final
from urllib.parse import urlsplit

import msgspec

from apikeyrouter.application.countable_input import CountTokens, countable
from apikeyrouter.domain.catalogue_folds import Provider
from apikeyrouter.domain.downgrades import pool_within_budget
from apikeyrouter.domain.events import RouteDecided, RouteRefused
from apikeyrouter.domain.questions import RouteQuestion
from apikeyrouter.domain.routing import decide
from apikeyrouter.domain.state import RouterState

FRAMING_TOKENS: Final = 16
"""What a chat template may add beside the framing that is published; reasoning models add a token or two."""

COUNTED_AT: Final = "api.openai.com"
"""Whose count is known beforehand, its regional hosts included (platform.openai.com, "Your data").

Vocabularies are known by the names of models, and who else serves a model may call it as he likes: names of
deployments are free at Azure, and "gpt-4-x-alpaca" reads by another vocabulary than its name begins with.
"""


def decide_twice(
    state: RouterState, question: RouteQuestion, body: bytes, count: CountTokens | None
) -> tuple[RouteQuestion, RouteDecided | RouteRefused]:
    """Decide, and once more with the input counted if a budget refuses; return what was asked in the end."""
    decision = decide(state, question)
    if count is None or not isinstance(decision, RouteRefused) or decision.shortfall is None:
        return question, decision
    pool, _, _ = pool_within_budget(state, question)
    if not all(_is_counted_at(member.provider) for member in pool.members):
        return question, decision
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


def _is_counted_at(provider: Provider) -> bool:
    host = urlsplit(provider.base_url or "").hostname or ""
    return host == COUNTED_AT or host.endswith(f".{COUNTED_AT}")

"""How long an answer may get: what the caller allows, else what the model can, else what is usual."""

from typing import Final

import numpy as np

from apikeyrouter.domain.columns import Floats
from apikeyrouter.domain.events import RequestFacts, RouteDecided

USUAL_OUTPUT_TOKENS: Final = 1024
CAPPED_OUTPUT_TOKENS: Final = 4096
"""What an answer may have where a hard budget needs a bound and neither caller nor model has one."""
WITHOUT_OUTPUT: Final = frozenset({"embeddings"})


def is_unbounded(facts: RequestFacts) -> bool:
    """Tell whether the caller has left open how long an answer may get."""
    return not facts.output_tokens_bound and facts.operation not in WITHOUT_OUTPUT


def usual_output(facts: RequestFacts) -> int:
    """Return the caller's bound, or what is usual."""
    return USUAL_OUTPUT_TOKENS * facts.choices if is_unbounded(facts) else facts.output_tokens_bound


def most_output(decision: RouteDecided, declared_limit: int | None) -> int | None:
    """Return what the answer to a call may hold at most; None where nobody bounds it."""
    facts = decision.facts
    if not is_unbounded(facts):
        return facts.output_tokens_bound
    an_answer = decision.output_tokens_capped or declared_limit
    return None if an_answer is None else an_answer * facts.choices


def output_bounds(facts: RequestFacts, limits: Floats | None, unbounded: int) -> int | Floats:
    """Bound the output on each member by its model's limit, 0 where unknown: there `unbounded` an answer."""
    if not is_unbounded(facts):
        return facts.output_tokens_bound
    if limits is None:
        return unbounded * facts.choices
    return np.where(limits > 0.0, limits, float(unbounded)) * facts.choices

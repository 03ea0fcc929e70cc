"""What a decision is asked."""

import msgspec

from apikeyrouter.domain.events import Policy, RequestFacts


class RouteQuestion(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Everything that a decision is made from, apart from the state."""

    facts: RequestFacts
    policy: Policy
    attempt: int
    tried: tuple[str, ...]
    avoided: tuple[str, ...] = ()
    at_us: int
    seed: int

"""From what an interface read to what the line needs: the facts of a request, sizes and hashes only."""

from hashlib import sha256
from typing import Final

import msgspec

from apikeyrouter.application.input_allowances import allowance_for
from apikeyrouter.application.origin import NOBODY, Origin
from apikeyrouter.application.passage import Order
from apikeyrouter.domain.events import Policy, RequestFacts
from apikeyrouter.domain.state import RouterState

MOST_TOKENS: Final = 2**31 - 1
MOST_CHOICES: Final = 128
"""What OpenAI allows; the product of the two stays far from where sums would run over."""


class Wish(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a caller asks of routing. `output_tokens_bound` 0 means that the caller set none.

    `choices` is how many answers at once are wanted, each of which may be as long as one alone.
    """

    operation: str
    model: str
    provider_id: str | None = None
    stream: bool = False
    needs: tuple[str, ...] = ()
    output_tokens_bound: int = 0
    choices: int = 1
    correlation_id: str | None = None
    origin: Origin = NOBODY


def address(state: RouterState, model: str) -> tuple[str | None, str]:
    """Split `provider/model` where the part before the slash is a provider; other slashes are the model's."""
    provider_id, slash, rest = model.partition("/")
    if slash and rest and provider_id in state.providers:
        return provider_id, rest
    return None, model


def order(wish: Wish, policy: Policy, body: bytes) -> Order:
    """Put an order together, with a bound of its input: bytes of the body, and what may come beside them."""
    allowance = allowance_for(wish.operation, body)
    facts = RequestFacts(
        operation=wish.operation,
        model=wish.model,
        provider_id=wish.provider_id,
        stream=wish.stream,
        needs=wish.needs + allowance.needs,
        input_tokens_bound=allowance.bound(len(body)),
        output_tokens_bound=wish.output_tokens_bound,
        body_bytes=len(body),
        body_sha256=sha256(body).hexdigest(),
        client_id=wish.origin.client_id,
        correlation_id=wish.correlation_id,
        team=wish.origin.team,
        tags=wish.origin.tags,
        choices=wish.choices,
    )
    return Order(facts=facts, policy=policy, body=body)

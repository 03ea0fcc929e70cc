"""From what an interface read to what the line needs: the facts of a request, sizes and hashes only."""

from hashlib import sha256

import msgspec

from apikeyrouter.application.origin import NOBODY, Origin
from apikeyrouter.application.passage import Order
from apikeyrouter.domain.events import Policy, RequestFacts
from apikeyrouter.domain.state import RouterState

MEDIA_PARTS = {"vision": (b'"image_url"', b'"input_image"'), "audio": (b'"input_audio"',)}
"""By what a body shows that a model must see or hear; such tokens may have prices of their own."""


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
    """Put an order together; a body of n bytes makes at most n tokens in any byte-level tokenizer."""
    facts = RequestFacts(
        operation=wish.operation,
        model=wish.model,
        provider_id=wish.provider_id,
        stream=wish.stream,
        needs=wish.needs + _media_in(body),
        input_tokens_bound=len(body),
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


def _media_in(body: bytes) -> tuple[str, ...]:
    return tuple(need for need, parts in MEDIA_PARTS.items() if any(body.find(part) >= 0 for part in parts))

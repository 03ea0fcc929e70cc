"""How a request ends: the events that settle what it consumed, measured or bounded."""

from hashlib import sha256
from typing import Any

import msgspec

from apikeyrouter.domain.events import (
    AttemptFailed,
    RequestCancelled,
    RequestCompleted,
    RequestFailed,
    RouteDecided,
)
from apikeyrouter.domain.failures import Failure
from apikeyrouter.domain.interfaces.provider_adapter import UpstreamAnswer, Usage
from apikeyrouter.domain.offered import OfferedModel
from apikeyrouter.domain.output_bounds import most_output, usual_output
from apikeyrouter.domain.pricing import cost_nano_usd

MEASURED = "provider"
BOUNDED = "bounded"
NONE = "none"
"""Who told what was consumed: the provider, a bound where it did not, nobody where nothing was."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What was seen of an answer, whole or in part."""

    usage: Usage | None
    model: str | None
    finish_reason: str | None
    upstream_request_id: str | None
    response_bytes: int
    response_sha256: str


def measured_or_bounded(
    decision: RouteDecided, offer: OfferedModel | None, usage: Usage | None, response_bytes: int
) -> tuple[Usage, str]:
    """Take the provider's count, or bound it: no byte-level tokenizer makes more tokens than bytes.

    Nor does a provider make more than it may, which is all that was held of quotas and budgets.
    """
    if usage is not None:
        return usage, MEASURED
    most = most_output(decision, _declared_limit(offer))
    output_tokens = response_bytes if most is None else min(response_bytes, most)
    return Usage(decision.facts.input_tokens_bound, output_tokens), BOUNDED


def _declared_limit(offer: OfferedModel | None) -> int | None:
    return None if offer is None or offer.declared is None else offer.declared.max_output_tokens


def completed(
    decision: RouteDecided,
    offer: OfferedModel | None,
    outcome: Outcome,
    *,
    at_us: int,
    elapsed_us: int,
    first_byte_us: int,
) -> RequestCompleted:
    """Settle a request that was answered."""
    usage, source = measured_or_bounded(decision, offer, outcome.usage, outcome.response_bytes)
    return RequestCompleted(
        at_us=at_us,
        attempt=decision.attempt,
        key_id=decision.chosen.key_id,
        provider_id=decision.chosen.provider_id,
        model=outcome.model or decision.model,
        usage_source=source,
        **_charged(decision, offer, usage),
        finish_reason=outcome.finish_reason,
        elapsed_us=elapsed_us,
        first_byte_us=first_byte_us,
        response_bytes=outcome.response_bytes,
        response_sha256=outcome.response_sha256,
        upstream_request_id=outcome.upstream_request_id,
    )


def cancelled(
    decision: RouteDecided,
    offer: OfferedModel | None,
    usage: Usage | None,
    *,
    at_us: int,
    elapsed_us: int,
    response_bytes: int,
) -> RequestCancelled:
    """Settle a request whose client left: by what was seen of the answer, or by all that may be of it."""
    facts = decision.facts
    if response_bytes:
        used, source = measured_or_bounded(decision, offer, usage, response_bytes)
    else:
        # Nothing was seen of it, so the provider may have made all of it.
        output_tokens = most_output(decision, _declared_limit(offer)) or usual_output(facts)
        used, source = Usage(facts.input_tokens_bound, output_tokens), BOUNDED
    return RequestCancelled(
        at_us=at_us,
        attempt=decision.attempt,
        key_id=decision.chosen.key_id,
        provider_id=decision.chosen.provider_id,
        phase="streaming" if response_bytes else "before_first_byte",
        usage_source=source,
        **_charged(decision, offer, used),
        elapsed_us=elapsed_us,
        response_bytes=response_bytes,
    )


def broken_off(
    decision: RouteDecided,
    offer: OfferedModel | None,
    failure: Failure,
    usage: Usage | None,
    *,
    at_us: int,
    response_bytes: int,
) -> RequestFailed:
    """Settle a stream that broke after text had reached the client."""
    used, source = measured_or_bounded(decision, offer, usage, response_bytes)
    return RequestFailed(
        at_us=at_us,
        attempts=decision.attempt,
        failure=failure.failure_class,
        status=failure.handling.status,
        usage_source=source,
        **_charged(decision, offer, used),
        response_bytes=response_bytes,
    )


def attempt_failed(
    decision: RouteDecided, failure: Failure, *, at_us: int, elapsed_us: int, is_settled_later: bool = False
) -> AttemptFailed:
    """Record an attempt that did not succeed; `is_settled_later` if what it cost will be told by the end."""
    is_free = is_settled_later or not may_be_charged(failure)
    return AttemptFailed(
        at_us=at_us,
        attempt=decision.attempt,
        key_id=decision.chosen.key_id,
        provider_id=decision.chosen.provider_id,
        failure=failure.failure_class,
        effect=failure.handling.effect,
        blames_provider=failure.handling.blames_provider,
        status=failure.status,
        code=failure.code,
        retry_after_us=failure.retry_after_us,
        elapsed_us=elapsed_us,
        sent=failure.sent,
        charged_nano_usd=0 if is_free else decision.chosen.cost_bound_nano_usd or 0,
    )


def may_be_charged(failure: Failure) -> bool:
    """Tell whether a provider may bill a failed call: one that it got and did not refuse."""
    return failure.sent and (failure.status is None or failure.status < 400)


def whole(answer: UpstreamAnswer) -> Outcome:
    """Describe a whole answer by its counts and its hash."""
    return Outcome(
        usage=answer.usage,
        model=answer.model,
        finish_reason=answer.finish_reason,
        upstream_request_id=answer.upstream_request_id,
        response_bytes=len(answer.body),
        response_sha256=sha256(answer.body).hexdigest(),
    )


def _charged(decision: RouteDecided, offer: OfferedModel | None, usage: Usage) -> dict[str, Any]:
    """Count the parts and charge for them, by the price that held when the key was chosen."""
    price = None if offer is None else offer.price_at(decision.at_us)
    charged = msgspec.structs.asdict(usage) | {"cost_nano_usd": cost_nano_usd(price, usage)}
    if price is not None:
        charged["prices_nano_usd_per_million"] = price.at_length(usage.input_tokens)
        charged["price_source"] = price.source
        charged["price_book"] = price.book
    return charged

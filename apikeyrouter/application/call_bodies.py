"""What is sent upstream: the caller's body, changed only where the decision asks for it."""

from typing import Any

import msgspec

from apikeyrouter.application.passage import Order
from apikeyrouter.domain.events import RouteDecided

_fields_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def body_of(order: Order, decision: RouteDecided) -> bytes:
    """Return the body of a call: another model's name, or a bound of the output, where it was decided so."""
    if decision.chosen.model is None and decision.output_tokens_capped is None:
        return order.body
    fields: dict[str, Any] = dict(_fields_of(order.body))
    if decision.chosen.model is not None:
        fields["model"] = decision.chosen.model
    if decision.output_tokens_capped is not None:
        fields.pop("max_tokens", None)  # it bounds nothing, or no bound would have been missing
        fields["max_completion_tokens"] = decision.output_tokens_capped
    return msgspec.json.encode(fields)

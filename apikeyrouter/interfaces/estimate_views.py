"""Estimates as people and programs see them, and how good they were."""

from decimal import ROUND_HALF_EVEN, Decimal

from apikeyrouter.adapters.tokens import count_tokens
from apikeyrouter.application.estimates import estimate, given_tokens
from apikeyrouter.application.passage import Order
from apikeyrouter.bootstrap import Node
from apikeyrouter.domain.models.cost_estimate import EstimateAccuracy, RequestEstimate
from apikeyrouter.domain.pricing import usd
from apikeyrouter.domain.reconciliation import Accuracy
from apikeyrouter.domain.state import RouterState

_NANO_USD = Decimal("0.000000001")
_SHARE = Decimal("0.000001")


def estimate_view(node: Node, order: Order, input_tokens: int | None = None) -> RequestEstimate:
    """Estimate an order as if it came now; `input_tokens` stands for an input that it does not hold."""
    if input_tokens is not None:
        order = given_tokens(order, input_tokens)
    question = node.route.rehearse(order)
    return estimate(node.state, question, order.body, count=count_tokens, given=input_tokens)


def accuracy_view(state: RouterState) -> list[EstimateAccuracy]:
    """Compare estimates with settlements, for every model of every provider, measured ones first."""
    return [
        _accuracy(provider_id, model, source, by_source[source])
        for (provider_id, model), by_source in sorted(state.reconciliation.by_place.items())
        for source in sorted(by_source, reverse=True)
    ]


def _accuracy(provider_id: str, model: str, source: str, told: Accuracy) -> EstimateAccuracy:
    priced = told.settlements - told.unpriced
    return EstimateAccuracy(
        provider_id=provider_id,
        model=model,
        source=source,
        settlements=told.settlements,
        unpriced=told.unpriced,
        foreseen=told.foreseen,
        bound=usd(told.bound_nano_usd),
        expected=usd(told.expected_nano_usd),
        actual=usd(told.actual_nano_usd),
        mean_signed_error=_mean(told.signed_error_nano_usd, told.foreseen),
        mean_absolute_error=_mean(told.absolute_error_nano_usd, told.foreseen),
        above_bound=told.above_bound,
        share_above_bound=None if not priced else (Decimal(told.above_bound) / priced).quantize(_SHARE),
    )


def _mean(nano_usd: int, count: int) -> Decimal | None:
    return None if not count else (usd(nano_usd) / count).quantize(_NANO_USD, ROUND_HALF_EVEN)

"""What a request would cost if it came now, at every provider that could serve it, and who would be chosen.

The same pool, prices, budgets and rules as in a decision. Nothing is recorded, reserved or learned.
"""

from typing import NamedTuple

import msgspec

from apikeyrouter.application.countable_input import CountTokens, countable
from apikeyrouter.application.passage import Order
from apikeyrouter.application.second_look import decide_twice
from apikeyrouter.domain.account_columns import NEVER_US
from apikeyrouter.domain.downgrades import pool_within_budget
from apikeyrouter.domain.events import RouteDecided, RouteRefused
from apikeyrouter.domain.expectations import Expectation
from apikeyrouter.domain.expected_costs import expected_cost
from apikeyrouter.domain.explanation import explain
from apikeyrouter.domain.funds import Funds, rows_of
from apikeyrouter.domain.models.cost_estimate import (
    BudgetFit,
    CandidateEstimate,
    CostEstimate,
    EstimatePrice,
    InputSource,
    OutputSource,
    RequestEstimate,
)
from apikeyrouter.domain.output_bounds import CAPPED_OUTPUT_TOKENS, USUAL_OUTPUT_TOKENS, is_unbounded
from apikeyrouter.domain.pools import Member, Pool
from apikeyrouter.domain.pricing import Price, usd
from apikeyrouter.domain.questions import RouteQuestion
from apikeyrouter.domain.state import RouterState
from apikeyrouter.domain.windows import moment


class _Prospect(NamedTuple):
    """What all candidates of one estimate have in common."""

    state: RouterState
    question: RouteQuestion
    decision: RouteDecided | RouteRefused
    pool: Pool
    funds: Funds | None
    cost: list[float]
    counts: dict[str, int]
    given: int | None


def given_tokens(order: Order, input_tokens: int) -> Order:
    """Return an order whose input is known to have so many tokens, for estimates without the input itself."""
    facts = msgspec.structs.replace(
        order.facts, input_tokens_bound=input_tokens, body_bytes=input_tokens, body_sha256=""
    )
    return msgspec.structs.replace(order, facts=facts)


def estimate(
    state: RouterState,
    question: RouteQuestion,
    body: bytes,
    *,
    count: CountTokens,
    given: int | None = None,
) -> RequestEstimate:
    """Estimate a request; `given` is its input in tokens, where the body does not hold it."""
    question, decision = decide_twice(state, question, body, count if given is None else None)
    pool, funds, cost = pool_within_budget(state, question)
    counts = _counts(question.facts.operation, body, pool, count) if given is None else {}
    prospect = _Prospect(state, question, decision, pool, funds, cost.tolist(), counts, given)
    candidates = tuple(_candidate(prospect, indices) for indices in _by_place(pool).values())
    chosen = next((one for one in candidates if one.chosen), None)
    refused = decision if isinstance(decision, RouteRefused) else None
    retry_at_us = None if refused is None else refused.retry_at_us
    return RequestEstimate(
        amount=None if chosen is None else chosen.expected.amount,
        bound=None if chosen is None else chosen.bound.amount,
        at=moment(question.at_us),
        model=question.facts.model,
        chosen_key_id=decision.chosen.key_id if isinstance(decision, RouteDecided) else None,
        chosen_provider_id=None if chosen is None else chosen.provider_id,
        chosen_model=None if chosen is None else chosen.model,
        explanation=explain(decision),
        refused=None if refused is None else refused.reason,
        retry_at=None if retry_at_us is None else moment(retry_at_us),
        candidates=candidates,
    )


def _by_place(pool: Pool) -> dict[tuple[str, str], list[int]]:
    places: dict[tuple[str, str], list[int]] = {}
    for index, member in enumerate(pool.members):
        places.setdefault((member.provider.provider_id, member.model), []).append(index)
    return places


def _counts(operation: str, body: bytes, pool: Pool, count: CountTokens) -> dict[str, int]:
    """Count the input by the vocabulary of every model that may be asked."""
    found = countable(operation, body)
    if found is None:
        return {}
    counted = {member.model: 0 for member in pool.members}
    told = {model: count(model, found.texts) for model in counted}
    return {model: tokens + found.tokens for model, tokens in told.items() if tokens is not None}


def _candidate(prospect: _Prospect, indices: list[int]) -> CandidateEstimate:
    """Estimate one provider and model, by that key of it which budgets keep back least."""
    state, facts, now_us = prospect.state, prospect.question.facts, prospect.state.latest_us
    fits = {index: _budgets(prospect, index) for index in indices}
    index = min(indices, key=lambda one: sum(fit.hard and not fit.fits for fit in fits[one]))
    member, price, bound = prospect.pool.members[index], prospect.pool.prices[index], prospect.cost[index]
    input_tokens, source = _input(prospect, member.model)
    expected = state.expectations.of(member.model, facts, now_us)
    if source != "bound":
        cached = expected.cached_tokens * input_tokens // max(expected.input_tokens, 1)
        expected = Expectation(input_tokens, min(cached, input_tokens), expected.output_tokens)
    learned = state.expectations.learned(member.model, facts, now_us)
    most_output, output_source = _output(prospect, index)
    return CandidateEstimate(
        provider_id=member.provider.provider_id,
        model=member.model,
        keys=len(indices),
        chosen=_is_chosen(prospect.decision, member),
        input_tokens=input_tokens,
        input_from=source,
        input_tokens_bound=facts.input_tokens_bound,
        expected_input_tokens=expected.input_tokens,
        output_tokens_bound=most_output,
        output_bound_from=output_source,
        expected_output_tokens=min(expected.output_tokens, most_output),
        learned_from_client=round(learned.of_client, 3),
        learned_from_model=round(learned.of_model, 3),
        bound=CostEstimate.from_nano_usd(None if bound < 0.0 else int(bound)),
        expected=CostEstimate.from_nano_usd(expected_cost(price, expected, bound)),
        price=_price(price, facts.input_tokens_bound),
        fits_budgets=all(fit.fits or not fit.hard for fit in fits[index]),
        budgets=fits[index],
    )


def _is_chosen(decision: RouteDecided | RouteRefused, member: Member) -> bool:
    if isinstance(decision, RouteRefused):
        return False
    return (decision.chosen.provider_id, decision.model) == (member.provider.provider_id, member.model)


def _input(prospect: _Prospect, model: str) -> tuple[int, InputSource]:
    if prospect.given is not None:
        return prospect.given, "given"
    counted = prospect.counts.get(model)
    return (prospect.question.facts.input_tokens_bound, "bound") if counted is None else (counted, "counted")


def _output(prospect: _Prospect, index: int) -> tuple[int, OutputSource]:
    """Bound the output as a decision does, and say by whose word."""
    facts, limits, funds = prospect.question.facts, prospect.pool.output_limits, prospect.funds
    if not is_unbounded(facts):
        return facts.output_tokens_bound, "request"
    if limits is not None and limits[index]:
        return int(limits[index]) * facts.choices, "model"
    if funds is not None and (funds.is_hard or funds.of_members is not None):
        return CAPPED_OUTPUT_TOKENS * facts.choices, "cap"
    return USUAL_OUTPUT_TOKENS * facts.choices, "usual"


def _price(price: Price | None, input_tokens: int) -> EstimatePrice | None:
    prices = None if price is None else price.at_length(input_tokens)
    if price is None or prices is None or prices.input is None or prices.output is None:
        return None
    return EstimatePrice(
        input_usd_per_mtok=usd(prices.input),
        output_usd_per_mtok=usd(prices.output),
        source=price.source,
        book=price.book,
    )


def _budgets(prospect: _Prospect, index: int) -> tuple[BudgetFit, ...]:
    """Tell of every budget that a member draws on whether the bound fits into it now; no price fits none."""
    if prospect.funds is None:
        return ()
    rows = rows_of(prospect.funds, prospect.pool, index)
    return tuple(_fit(prospect, row, prospect.cost[index]) for row in rows)


def _fit(prospect: _Prospect, row: int, bound: float) -> BudgetFit:
    budgets = prospect.state.budgets
    budget, remaining = budgets.by_row[row], budgets.remaining(row)
    fits = 0.0 <= bound <= remaining
    fits_at_us = NEVER_US if fits or bound < 0.0 else budgets.fits_at(row, int(bound))
    return BudgetFit(
        budget_id=budget.budget_id,
        scope=budget.scope,
        scope_id=budget.scope_id,
        hard=budget.is_hard,
        limit=usd(budget.limit_nano_usd),
        remaining=usd(max(remaining, 0)),
        fits=fits,
        fits_at=None if fits_at_us >= NEVER_US else moment(fits_at_us),
    )

"""The pool that a request is decided over: that of its model, or with cheaper ones where money runs short."""

from apikeyrouter.domain.columns import Floats
from apikeyrouter.domain.events import RequestFacts
from apikeyrouter.domain.funds import Funds, funds_of, rows_of
from apikeyrouter.domain.output_bounds import CAPPED_OUTPUT_TOKENS, USUAL_OUTPUT_TOKENS, output_bounds
from apikeyrouter.domain.pool_costs import cost_bounds
from apikeyrouter.domain.pools import Pool, pool_for
from apikeyrouter.domain.questions import RouteQuestion
from apikeyrouter.domain.state import RouterState


def pool_within_budget(state: RouterState, question: RouteQuestion) -> tuple[Pool, Funds | None, Floats]:
    """Return the pool of a request, the budgets it draws on, and the bound of its cost on each member."""
    facts = question.facts
    pool = pool_for(state, facts)
    funds = funds_of(state, pool, facts)
    cost = _cost(pool, facts, funds)
    equated = state.equated.get(facts.model)
    if funds is None or equated is None or not equated.cheaper:
        return pool, funds, cost
    if not _may_downgrade(state, question, funds, pool) or _is_affordable(state, funds, pool, cost):
        return pool, funds, cost
    pool = pool_for(state, facts, downgraded=True)
    funds = funds_of(state, pool, facts)
    return pool, funds, _cost(pool, facts, funds)


def _cost(pool: Pool, facts: RequestFacts, funds: Funds | None) -> Floats:
    is_hard = funds is not None and (funds.is_hard or funds.of_members is not None)
    unbounded = CAPPED_OUTPUT_TOKENS if is_hard else USUAL_OUTPUT_TOKENS
    output = output_bounds(facts, pool.output_limits, unbounded)
    return cost_bounds(pool.cost_steps, facts.input_tokens_bound, output)


def _may_downgrade(state: RouterState, question: RouteQuestion, funds: Funds, pool: Pool) -> bool:
    """Tell whether the caller, or a budget of the request, allows for a cheaper model."""
    by_row = state.budgets.by_row
    rows = (
        *funds.rows,
        *(row for index in range(len(pool.members)) for row in rows_of(funds, pool, index)),
    )
    return question.policy.downgrade or any(by_row[row].terms.downgrade for row in rows)


def _is_affordable(state: RouterState, funds: Funds, pool: Pool, cost: Floats) -> bool:
    """Tell whether some member fits into all budgets, the soft ones as well."""
    remaining = state.budgets.remaining
    return any(
        bound >= 0.0 and all(remaining(row) >= bound for row in rows_of(funds, pool, index))
        for index, bound in enumerate(cost.tolist())
    )

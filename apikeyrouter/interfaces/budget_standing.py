"""A budget for administrators: as it stands, since when, and which threshold somebody was told of."""

from datetime import datetime
from decimal import Decimal

from pydantic import field_serializer

from apikeyrouter.domain.budgets import Budget as BudgetState
from apikeyrouter.domain.models.budget import Budget
from apikeyrouter.domain.state import RouterState
from apikeyrouter.domain.windows import moment
from apikeyrouter.interfaces.budget_views import budget_view


class BudgetStanding(Budget):
    """A budget as it stands. `alerted_percent` is the highest threshold told of in the present window."""

    opened_at: datetime
    alerted_percent: int | None

    @field_serializer("limit", "topped_up", "spent", "reserved", "remaining", when_used="json")
    def _without_exponent(self, amount: Decimal) -> str:
        return f"{amount:f}"


def budget_standing(state: RouterState, budget: BudgetState, now_us: int) -> BudgetStanding:
    """Describe a budget as it stands at an instant."""
    told = budget.told_percent if now_us < budget.told_until_us else 0
    return BudgetStanding(
        **budget_view(state, budget, now_us).model_dump(),
        opened_at=moment(budget.opened_us),
        alerted_percent=told or None,
    )

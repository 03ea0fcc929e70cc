"""Budgets as people and programs see them: exact US dollars, instants in UTC."""

from decimal import Decimal

from apikeyrouter.domain.account_columns import NEVER_US
from apikeyrouter.domain.budget_terms import PERIODS
from apikeyrouter.domain.budgets import Budget as BudgetState
from apikeyrouter.domain.models.budget import Budget, EnforcementMode
from apikeyrouter.domain.pricing import usd
from apikeyrouter.domain.state import RouterState
from apikeyrouter.domain.windows import moment


def budget_view(state: RouterState, budget: BudgetState, now_us: int) -> Budget:
    """Describe a budget as it stands at an instant, without moving the present."""
    terms, account = budget.terms, state.budgets.accounts.report(budget.row, now_us)
    limit = terms.limit_nano_usd + sum(amount for ends_us, amount in budget.credits if ends_us > now_us)
    begins, ends_us = account.starts_us > 0, account.ends_us
    return Budget(
        id=budget.budget_id,
        name=budget.name,
        scope=budget.scope,
        scope_id=budget.scope_id,
        enforcement_mode=EnforcementMode(terms.enforcement),
        period=PERIODS[terms.unit],
        rolling=terms.kind == "rolling",
        seconds=terms.seconds or None,
        timezone=terms.zone,
        limit=usd(terms.limit_nano_usd),
        topped_up=usd(limit - terms.limit_nano_usd),
        spent=usd(account.settled),
        reserved=usd(account.reserved),
        remaining=Decimal(0) if budget.is_closed else usd(max(limit - account.settled - account.reserved, 0)),
        window_starts_at=moment(account.starts_us) if begins else None,
        resets_at=None if ends_us is None or ends_us >= NEVER_US else moment(ends_us),
        alerts_percent=terms.alerts_percent,
        downgrade=terms.downgrade,
        closed=budget.is_closed,
    )

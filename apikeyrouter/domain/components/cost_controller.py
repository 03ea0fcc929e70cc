"""Published import path of `BudgetExceededError`."""

from apikeyrouter.domain.models.system_error import BudgetExceededError

__all__ = ["BudgetExceededError"]

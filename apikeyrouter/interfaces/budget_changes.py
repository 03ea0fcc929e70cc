"""What is declared anew of a budget's terms, laid over those that hold."""

from collections.abc import Mapping
from typing import Any

from apikeyrouter.domain.budget_terms import PERIODS, parse_terms
from apikeyrouter.domain.events import BudgetTerms
from apikeyrouter.domain.models.budget import TimeWindow
from apikeyrouter.domain.pricing import usd


def changed_terms(terms: BudgetTerms, changes: Mapping[str, Any]) -> BudgetTerms:
    """Return the terms with changes by the names of `parse_terms`; what is not named stays.

    A period without a length of its own drops the seconds, a rolling one the time zone. Raises
    `InvalidRequestError` where the result is unusable.
    """
    merged = {**_as_declared(terms), **changes}
    if "seconds" not in changes and merged["period"] != TimeWindow.Custom:
        merged["seconds"] = None
    if "timezone" not in changes and merged["rolling"]:
        merged["timezone"] = "UTC"
    return parse_terms(**merged)


def _as_declared(terms: BudgetTerms) -> dict[str, Any]:
    return {
        "limit": usd(terms.limit_nano_usd),
        "period": PERIODS[terms.unit],
        "enforcement_mode": terms.enforcement,
        "rolling": terms.kind == "rolling",
        "seconds": terms.seconds or None,
        "timezone": terms.zone,
        "alerts_percent": terms.alerts_percent,
        "downgrade": terms.downgrade,
    }

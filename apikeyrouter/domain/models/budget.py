"""Budgets in the words of callers: whose spending, how much in which window, and how strictly."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class BudgetScope(StrEnum):
    """Whose spending a budget bounds. A route is an operation: chat, embeddings, …."""

    Global = "global"
    PerProvider = "provider"
    PerKey = "key"
    PerClient = "client"
    PerTeam = "team"
    PerModel = "model"
    PerTag = "tag"
    PerRoute = "route"


class EnforcementMode(StrEnum):
    """Hard: what does not fit is refused. Soft: it is served, told, and served cheaper where asked for."""

    Hard = "hard"
    Soft = "soft"


class TimeWindow(StrEnum):
    """How long the amount must last. `Custom` takes a length in seconds, `Total` never begins anew."""

    Hourly = "hourly"
    Daily = "daily"
    Weekly = "weekly"
    Monthly = "monthly"
    Custom = "custom"
    Total = "total"


class Budget(BaseModel):
    """A budget as it stands: amounts in US dollars, exact.

    `spent` is settled, `reserved` held for calls under way, `remaining` what still fits. `resets_at` is None
    where nothing is given back by time alone.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    name: str | None
    scope: BudgetScope
    scope_id: str | None
    enforcement_mode: EnforcementMode
    period: TimeWindow
    rolling: bool
    seconds: int | None
    timezone: str
    limit: Decimal
    topped_up: Decimal
    spent: Decimal
    reserved: Decimal
    remaining: Decimal
    window_starts_at: datetime | None
    resets_at: datetime | None
    alerts_percent: tuple[int, ...]
    downgrade: bool
    closed: bool

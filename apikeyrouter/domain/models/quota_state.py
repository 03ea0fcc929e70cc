"""What is left of a key's quotas and when they run out, as users see it; what is not known says so."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from apikeyrouter.domain.accounts import LimitSource
from apikeyrouter.domain.forecasting import CapacityState, Uncertainty
from apikeyrouter.domain.quota_limits import Dimension
from apikeyrouter.domain.windows import Kind, Unit

__all__ = [
    "AccountForecast",
    "AccountQuota",
    "CapacityEstimate",
    "CapacityState",
    "Dimension",
    "ExhaustionPrediction",
    "LimitSource",
    "QuotaState",
    "Uncertainty",
]

Unknown = Literal["unknown"]
"""Said of the capacity of a key for which no limit was declared or learned."""


class CapacityEstimate(BaseModel):
    """An amount of one dimension and how sure it is; `value` None where no limit is known."""

    model_config = ConfigDict(frozen=True)

    value: int | None = None
    uncertainty: Uncertainty = Uncertainty.Unknown


class AccountQuota(BaseModel):
    """One limit and what has been used of it. Keys of one group share the account.

    `models` None means all models. `declared` None means that nobody declared the limit: it was learned. A
    rolling window ends when its oldest amount leaves, None where nothing was used.
    """

    model_config = ConfigDict(frozen=True)

    account_id: str
    provider_id: str
    key_ids: tuple[str, ...]
    dimension: Dimension
    models: tuple[str, ...] | None = None
    window: Unit
    window_kind: Kind
    time_zone: str
    limit: int
    declared: int | None = None
    source: LimitSource
    since: datetime
    settled: int
    reserved: int
    remaining: int
    window_starts_at: datetime
    window_ends_at: datetime | None = None
    capacity_state: CapacityState
    uncertainty: Uncertainty


class QuotaState(BaseModel):
    """How a key stands: the state of its tightest account, whose figures are repeated here, and all accounts.

    `reset_at` is when that account, or the key where its provider refused it for gone quota, gets room again.
    """

    model_config = ConfigDict(frozen=True)

    key_id: str
    provider_id: str
    capacity_state: CapacityState | Unknown = "unknown"
    uncertainty: Uncertainty = Uncertainty.Unknown
    dimension: Dimension | None = None
    remaining_capacity: CapacityEstimate = CapacityEstimate()
    total_capacity: CapacityEstimate = CapacityEstimate()
    used_capacity: CapacityEstimate = CapacityEstimate()
    reset_at: datetime | None = None
    accounts: tuple[AccountQuota, ...] = ()


class AccountForecast(BaseModel):
    """Whether and when an account runs out before `horizon_ends_at`.

    The times hold if it runs out at all: the median, and an interval with four of five such cases. Earlier
    forecasts that were scored by what came have this `brier_score`: 0 is perfect, 0.25 a coin's. It all
    stands on `requests_seen`, older ones fading, and was compared with what came `comparisons` times.
    """

    model_config = ConfigDict(frozen=True)

    account_id: str
    key_ids: tuple[str, ...]
    dimension: Dimension
    models: tuple[str, ...] | None = None
    window: Unit
    limit: int
    remaining: int
    probability: float
    exhausted_at: datetime | None = None
    earliest_at: datetime | None = None
    latest_at: datetime | None = None
    horizon_ends_at: datetime
    rate_per_s: float
    capacity_state: CapacityState
    uncertainty: Uncertainty
    method: str
    requests_seen: float
    comparisons: float
    forecasts_scored: int = 0
    brier_score: float | None = None


class ExhaustionPrediction(BaseModel):
    """What is foreseen for a key: that of the account most likely to run out, and all of them.

    `probability` None: no limit is known, so nothing can be foreseen.
    """

    model_config = ConfigDict(frozen=True)

    key_id: str
    provider_id: str
    capacity_state: CapacityState | Unknown = "unknown"
    uncertainty: Uncertainty = Uncertainty.Unknown
    probability: float | None = None
    exhausted_at: datetime | None = None
    earliest_at: datetime | None = None
    latest_at: datetime | None = None
    horizon_ends_at: datetime | None = None
    method: str | None = None
    accounts: tuple[AccountForecast, ...] = ()

"""Published import path of what `router.quota_awareness_engine` answers with."""

from apikeyrouter.domain.models.quota_state import CapacityState, ExhaustionPrediction, QuotaState

__all__ = ["CapacityState", "ExhaustionPrediction", "QuotaState"]

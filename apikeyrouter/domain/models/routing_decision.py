"""What users say about routing: the objective of a request."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict


class ObjectiveType(StrEnum):
    """The criteria by which a key can be chosen."""

    Cost = "cost"
    Reliability = "reliability"
    Fairness = "fairness"
    Latency = "latency"
    Quality = "quality"


class RoutingObjective(BaseModel):
    """A primary criterion; optionally secondary ones, explicit weights, and constraints that exclude.

    Constraints: `max_cost_per_request` (USD), `max_latency_ms`, `min_reliability` and `min_quality`
    (0 to 1), `providers` and `excluded_providers` (lists of provider ids).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    primary: ObjectiveType = ObjectiveType.Fairness
    secondary: Sequence[ObjectiveType] = ()
    constraints: Mapping[str, Any] = {}
    weights: Mapping[ObjectiveType, float] = {}

"""Objectives made explicit: what a word such as "fairness" means in weights and constraints."""

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any

import msgspec
from pydantic import ValidationError

from apikeyrouter.domain.events import Policy
from apikeyrouter.domain.models.routing_decision import ObjectiveType, RoutingObjective
from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.domain.pricing import NANO_PER_USD

SECONDARY_WEIGHT = 0.25

PRESETS: dict[ObjectiveType, Policy] = {
    # The cheapest wins; only keys of equal price are told apart by the rest.
    ObjectiveType.Cost: Policy(
        objective="cost", cost=1.0, reliability=0.0005, fairness=0.0005, headroom=0.0005
    ),
    ObjectiveType.Reliability: Policy(
        objective="reliability", reliability=1.0, fairness=0.15, latency=0.05, headroom=0.3
    ),
    # Fairness alone would feed dead keys, which never carry any load: hence the weight of reliability.
    ObjectiveType.Fairness: Policy(
        objective="fairness", fairness=0.5, reliability=0.5, latency=0.02, headroom=0.3
    ),
    ObjectiveType.Latency: Policy(
        objective="latency", latency=0.7, reliability=0.3, fairness=0.2, headroom=0.2
    ),
    ObjectiveType.Quality: Policy(
        objective="quality", quality=1.0, reliability=0.1, fairness=0.1, headroom=0.1
    ),
}


def policy_of(objective: str | RoutingObjective | Mapping[str, Any] | None) -> Policy:
    """Turn what a user asked for into a policy, or raise `InvalidRequestError` that says what is allowed."""
    match objective:
        case None:
            return PRESETS[ObjectiveType.Fairness]
        case str():
            return _preset(objective)
        case RoutingObjective():
            return _explicit(objective)
        case Mapping():
            return _explicit(_parsed(objective))
    raise InvalidRequestError("objective must be a name, a RoutingObjective or a mapping", param="objective")


def _preset(name: str) -> Policy:
    try:
        return PRESETS[ObjectiveType(name)]
    except ValueError:
        allowed = ", ".join(ObjectiveType)
        raise InvalidRequestError(
            f"unknown objective {name[:40]!r}; choose one of {allowed}", param="objective"
        ) from None


def _parsed(objective: Mapping[str, Any]) -> RoutingObjective:
    try:
        return RoutingObjective.model_validate(dict(objective))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidRequestError(f"objective.{where}: {first['msg']}", param=f"objective.{where}") from None


def _explicit(objective: RoutingObjective) -> Policy:
    policy = (
        _weighted(objective.weights, objective.primary) if objective.weights else PRESETS[objective.primary]
    )
    for criterion in objective.secondary:
        weight = max(getattr(policy, criterion), SECONDARY_WEIGHT)
        policy = msgspec.structs.replace(policy, **{str(criterion): weight})
    constraints = {
        field: value
        for name, given in objective.constraints.items()
        for field, value in [_constraint(name, given)]
    }
    return msgspec.structs.replace(policy, **constraints) if constraints else policy


def _weighted(weights: Mapping[ObjectiveType, float], primary: ObjectiveType) -> Policy:
    for name, weight in weights.items():
        if not isfinite(weight) or weight < 0:
            raise InvalidRequestError(
                f"weight of {name} must be a number of at least 0", param="objective.weights"
            )
    if sum(weights.values()) <= 0:
        raise InvalidRequestError("at least one weight must be above 0", param="objective.weights")
    given = {str(name): float(weight) for name, weight in weights.items()}
    return msgspec.structs.replace(Policy(objective=str(primary)), **given)


def _constraint(name: str, given: object) -> tuple[str, Any]:
    read = _CONSTRAINTS.get(name)
    param = f"objective.constraints.{name}"
    if read is None:
        allowed = ", ".join(_CONSTRAINTS)
        raise InvalidRequestError(f"unknown constraint {name[:40]!r}; choose among {allowed}", param=param)
    try:
        return read(given)
    except (TypeError, ValueError, InvalidOperation):
        raise InvalidRequestError(f"{param} has an unusable value", param=param) from None


def _usd(given: object) -> tuple[str, int]:
    amount = Decimal(str(given))
    if not amount.is_finite() or amount < 0:
        raise ValueError
    return "max_cost_nano_usd", int(amount * NANO_PER_USD)


def _milliseconds(given: object) -> tuple[str, int]:
    return "max_latency_us", int(_number(given) * 1000)


def _fraction(field: str) -> Callable[[object], tuple[str, float]]:
    def read(given: object) -> tuple[str, float]:
        value = _number(given)
        if value > 1:
            raise ValueError
        return field, value

    return read


def _number(given: object) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not isfinite(given) or given < 0:
        raise ValueError
    return float(given)


def _names(field: str) -> Callable[[object], tuple[str, tuple[str, ...]]]:
    def read(given: object) -> tuple[str, tuple[str, ...]]:
        if isinstance(given, str) or not isinstance(given, list | tuple | set | frozenset):
            raise TypeError
        if not given:
            raise ValueError
        return field, tuple(sorted(str(item) for item in given))

    return read


_CONSTRAINTS: dict[str, Callable[[object], tuple[str, Any]]] = {
    "max_cost_per_request": _usd,
    "max_latency_ms": _milliseconds,
    "min_reliability": _fraction("min_reliability"),
    "min_quality": _fraction("min_quality"),
    "providers": _names("providers"),
    "excluded_providers": _names("excluded_providers"),
}

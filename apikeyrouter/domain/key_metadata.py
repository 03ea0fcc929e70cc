"""What an administrator may declare about a key, checked where it enters."""

from collections.abc import Mapping
from math import inf, isfinite

import msgspec

from apikeyrouter.domain.events import Metadata
from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.domain.quota_limits import (
    check_no_limit_twice,
    checked_quota_entry,
    flattened,
    is_quota_entry,
)

REQUESTS_PER_MINUTE_OF_ONE_SHARE = 100
LONGEST_TEXT = 256
MOST_ENTRIES = 64


class KeyDeclaration(msgspec.Struct, frozen=True):
    """The part of the metadata that routing reads: share of the load, models if restricted, calls at once."""

    weight: float = 1.0
    models: frozenset[str] | None = None
    max_concurrency: float = inf


def check_metadata(metadata: Mapping[str, object] | None) -> Metadata:
    """Return the metadata as it may enter an event, or raise `InvalidRequestError` naming the entry."""
    if metadata is None:
        return {}
    entries = flattened(metadata)
    if len(entries) > MOST_ENTRIES:
        raise InvalidRequestError(
            f"key metadata has {len(entries)} entries; at most {MOST_ENTRIES} are allowed", param="metadata"
        )
    checked = {_checked_name(name): _checked_value(name, value) for name, value in entries.items()}
    check_no_limit_twice(checked)
    return checked


def declaration(metadata: Metadata) -> KeyDeclaration:
    """Read what routing needs; declared requests per minute stand in for a missing weight."""
    models, most = metadata.get("models"), metadata.get("max_concurrency")
    return KeyDeclaration(
        weight=_weight(metadata),
        models=frozenset(models) if isinstance(models, list) else None,
        max_concurrency=float(most) if isinstance(most, int | float) and most >= 1 else inf,
    )


def _weight(metadata: Metadata) -> float:
    weight, rpm = metadata.get("weight"), metadata.get("rpm")
    if isinstance(weight, int | float):
        return float(weight)
    if isinstance(rpm, int | float):
        return float(rpm) / REQUESTS_PER_MINUTE_OF_ONE_SHARE
    return 1.0


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not name or not name.isprintable() or len(name) > LONGEST_TEXT:
        raise InvalidRequestError("names in key metadata must be short printable strings", param="metadata")
    return name


def _checked_value(name: str, value: object) -> str | int | float | bool | list[str] | None:
    param = f"metadata.{name}"
    if name == "weight":
        return _positive_number(param, value)
    if is_quota_entry(name):
        return checked_quota_entry(name, value)
    match value:
        case None | bool() | int():
            return value
        case float() if isfinite(value):
            return value
        case str() if value.isprintable() and len(value) <= LONGEST_TEXT:
            return value
        case list() | tuple() if all(isinstance(item, str) and item.isprintable() for item in value):
            return [str(item) for item in value]
    raise InvalidRequestError(
        f"{param} must be a short printable text, a finite number, a boolean or a list of texts", param=param
    )


def _positive_number(param: str, value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value <= 0:
        raise InvalidRequestError(f"{param} must be a number above zero", param=param)
    return value

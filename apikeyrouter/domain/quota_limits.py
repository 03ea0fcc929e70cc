"""The limits of a key: how an administrator declares them, and the accounts that they bound."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple, get_args

import msgspec

from apikeyrouter.domain.events import Metadata, QuotaLimitLearned
from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.domain.windows import Kind, Unit, Window, zone_named

MOST_AMOUNT: Final = 2**53
"""Up to here every whole number is one in JSON and in a float as well."""


class Dimension(StrEnum):
    """What is counted."""

    Requests = "requests"
    Tokens = "tokens"
    InputTokens = "input_tokens"
    OutputTokens = "output_tokens"
    NanoUsd = "nano_usd"


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """A bounded amount a window. `models` names those that share it; None means every model."""

    account_id: str
    dimension: Dimension
    amount: int
    window: Window
    models: tuple[str, ...] | None = None

    @property
    def of_tokens(self) -> bool:
        """Tell whether tokens are counted, of whatever kind."""
        return self.dimension is not Dimension.Requests

    def covers(self, model: str) -> bool:
        """Tell whether requests for a model draw on it."""
        return self.models is None or model in self.models


class _Name(NamedTuple):
    dimension: Dimension
    unit: Unit


_LETTERS = {
    "r": Dimension.Requests,
    "t": Dimension.Tokens,
    "it": Dimension.InputTokens,
    "ot": Dimension.OutputTokens,
}
_UNITS: dict[str, Unit] = {"s": "second", "m": "minute", "h": "hour", "d": "day", "month": "month"}
LIMIT_NAMES: Final = {
    f"{letter}p{unit}": _Name(dimension, _UNITS[unit])
    for letter, dimension in _LETTERS.items()
    for unit in _UNITS
}
_USUAL_KIND: dict[Unit, Kind] = {
    # Providers count these each in their own way; what keeps a rolling limit keeps any other as well.
    "second": "rolling",
    "minute": "rolling",
    "hour": "rolling",
    # These they give back at midnight.
    "day": "fixed",
    "month": "fixed",
}
QUOTA_UNITS: Final = tuple(_USUAL_KIND)
QUOTA_DIMENSIONS: Final = tuple(_LETTERS.values())
_CONCURRENCY, _GROUP, _ZONE, _KIND = "max_concurrency", "quota_group", "quota_timezone", "quota_window"
_WORDS = frozenset({*LIMIT_NAMES, _CONCURRENCY, _GROUP, _ZONE, _KIND})


class Scope(msgspec.Struct, frozen=True):
    """Whose accounts they are, a key's own or those of its group, and how their windows run."""

    owner: str
    zone: str = "UTC"
    kind: Kind | None = None

    def limit(
        self,
        dimension: Dimension,
        unit: Unit,
        amount: int,
        models: Iterable[str] | None,
        kind: Kind | None = None,
    ) -> Limit:
        """Describe the limit of one account; `kind` is how its window turned out to run."""
        shared = None if models is None else tuple(sorted(set(models)))
        suffix = "" if shared is None else f"/{'|'.join(shared)}"
        return Limit(
            account_id=f"{self.owner}/{dimension}/{unit}{suffix}",
            dimension=dimension,
            amount=amount,
            window=self._window(unit, kind),
            models=shared,
        )

    def _window(self, unit: Unit, learned: Kind | None) -> Window:
        kind = self.kind or learned or _USUAL_KIND[unit]
        return Window(kind, unit, self.zone if kind == "fixed" else "UTC")


def scope_of(provider_id: str, key_id: str, metadata: Metadata) -> Scope:
    """Read whose accounts a key draws on; keys of one group at one provider share them all."""
    group, kind = metadata.get(_GROUP), metadata.get(_KIND)
    # A provider's id has no colon, so that no two groups share a name.
    owner = f"group-{provider_id}:{group}" if isinstance(group, str) else f"key-{key_id}"
    zone = metadata.get(_ZONE)
    zone = zone if isinstance(zone, str) and _is_zone(zone) else "UTC"
    return Scope(owner, zone, msgspec.convert(kind, Kind) if kind in get_args(Kind) else None)


def limits_of(provider_id: str, key_id: str, metadata: Metadata) -> tuple[Limit, ...]:
    """Read the declared limits, by the names of their accounts.

    The order does not depend on that of the metadata, which the log does not keep. Never raises: what was
    recorded before it was checked is read as far as it can be.
    """
    scope = scope_of(provider_id, key_id, metadata)
    limits: dict[str, Limit] = {}
    for name, value in metadata.items():
        amount = _amount(value)
        if (entry := _parsed(name)) is None or amount is None:
            continue
        limit = scope.limit(*entry[0], amount, entry[1])
        limits[limit.account_id] = agreed([limit, limits.get(limit.account_id, limit)])
    return tuple(limits[account_id] for account_id in sorted(limits))


def learned_limit(provider_id: str, key_id: str, metadata: Metadata, learned: QuotaLimitLearned) -> Limit:
    """Describe the limit that an event says was learned for a key."""
    scope = scope_of(provider_id, key_id, metadata)
    unit = msgspec.convert(learned.unit, Unit)
    kind = None if learned.kind is None else msgspec.convert(learned.kind, Kind)
    return scope.limit(Dimension(learned.dimension), unit, learned.limit, learned.models, kind)


def agreed(declared: Iterable[Limit]) -> Limit:
    """Return which of several declarations of a shared account holds: the smallest, whoever came first."""
    return min(declared, key=lambda limit: (limit.amount, limit.window.kind == "fixed", limit.window.zone))


# --- where metadata enters ---------------------------------------------------------------------------


def flattened(metadata: Mapping[str, object]) -> dict[str, object]:
    """Return the metadata with `{"limits": {model: {name: amount}}}` as flat entries `name:model`."""
    flat = {name: value for name, value in metadata.items() if name != "limits"}
    for name, value in _nested(metadata.get("limits")):
        if name in flat:
            raise InvalidRequestError(f"metadata.{name} is declared twice", param=f"metadata.{name}")
        flat[name] = value
    return flat


def is_quota_entry(name: str) -> bool:
    """Tell whether an entry declares a limit or how limits run, even if spelled in another case."""
    return name.partition(":")[0].strip().lower() in _WORDS


def checked_quota_entry(name: str, value: object) -> str | int:
    """Return the value as it may enter an event, or raise `InvalidRequestError` naming the entry."""
    word, colon, models = name.partition(":")
    if word not in _WORDS:
        raise _refusal(name, f"is no limit that is known: write {word.strip().lower()}")
    if colon and word not in LIMIT_NAMES:
        raise _refusal(name, f"is declared for a whole key: write {word}")
    if colon and not all(model and model == model.strip() for model in models.split("|")):
        raise _refusal(name, "names no model: write rpm:MODEL, or rpm:MODEL|MODEL for several that share it")
    if word in LIMIT_NAMES or word == _CONCURRENCY:
        return _checked_amount(name, value)
    return _checked_setting(name, value)


def check_no_limit_twice(metadata: Metadata) -> None:
    """Refuse two entries for one account, such as `rpm:a|b` and `rpm:b|a`."""
    seen: set[tuple[_Name, tuple[str, ...] | None]] = set()
    for name in metadata:
        entry = _parsed(name)
        if entry is not None and entry in seen:
            raise _refusal(name, "is declared twice")
        if entry is not None:
            seen.add(entry)


def _nested(limits: object) -> Iterable[tuple[str, object]]:
    if limits is None:
        return
    if not isinstance(limits, Mapping):
        raise _refusal("limits", "must map models to their limits")
    for model, amounts in limits.items():
        place = f"limits.{str(model)[:64]}"
        if not isinstance(model, str) or not isinstance(amounts, Mapping):
            raise _refusal(place, "must map names of limits to amounts")
        for name, amount in amounts.items():
            if name not in LIMIT_NAMES:
                known = ", ".join(LIMIT_NAMES)
                raise _refusal(f"{place}.{str(name)[:64]}", f"is no limit that is known; known: {known}")
            yield f"{name}:{model}", amount


def _parsed(name: str) -> tuple[_Name, tuple[str, ...] | None] | None:
    word, colon, models = name.partition(":")
    if word not in LIMIT_NAMES:
        return None
    return LIMIT_NAMES[word], tuple(sorted(set(models.split("|")))) if colon else None


def _amount(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= MOST_AMOUNT:
        return None
    return int(value)


def _checked_amount(name: str, value: object) -> int:
    amount = _amount(value)
    if amount is not None and amount == value:
        return amount
    if value == 0 and not isinstance(value, bool):
        # Elsewhere zero means "without limit" as often as "nothing at all".
        raise _refusal(name, "must be above zero: to stop a key, disable it; for no limit, leave it out")
    raise _refusal(name, "must be a whole number from 1 to 2^53")


def _checked_setting(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise _refusal(name, "must be a text")
    if name == _ZONE and not _is_zone(value):
        raise _refusal(name, "must name a time zone as the IANA database does, such as Europe/Berlin")
    if name == _KIND and value not in get_args(Kind):
        raise _refusal(name, "must be rolling, fixed or bucket")
    if name == _GROUP and not (value and value.isprintable() and value == value.strip() and "/" not in value):
        raise _refusal(name, "must be a short printable text without slashes")
    return value


def _is_zone(name: str) -> bool:
    try:
        zone_named(name)
    except InvalidRequestError:
        return False
    return True


def _refusal(name: str, reason: str) -> InvalidRequestError:
    return InvalidRequestError(f"metadata.{name} {reason}", param=f"metadata.{name}")

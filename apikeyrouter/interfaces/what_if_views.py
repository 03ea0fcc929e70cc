"""What-ifs as users ask for them and see them: changes from plain words, comparisons with their ranges."""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from apikeyrouter.application.what_if import AddedKey, Change, Comparison
from apikeyrouter.application.what_if.changes import EVERY_KEY
from apikeyrouter.application.what_if.run import Run
from apikeyrouter.application.what_if.tally import Served, Tally
from apikeyrouter.domain.events import Prices
from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.domain.objectives import policy_of
from apikeyrouter.domain.offers import parse_prices
from apikeyrouter.domain.price_book import PriceBook
from apikeyrouter.domain.pricing import nano_usd

_COUNTS = [name for name in Tally.__struct_fields__ if isinstance(getattr(Tally(), name), int)]
FIGURES = (*_COUNTS, "mean_elapsed_us")


def change_of(  # noqa: PLR0913 - one parameter a kind of change
    *,
    objective: str | Mapping[str, Any] | None = None,
    removed: Iterable[str] = (),
    added: Iterable[str] = (),
    limits: Iterable[str] = (),
    prices: Iterable[str] = (),
    budgets: Iterable[str] = (),
    book: PriceBook | None = None,
) -> Change:
    """Read a change: `PROVIDER[:NAME=VALUE,…]` adds a key, `[KEY:]NAME=VALUE` declares otherwise.

    A price is `PROVIDER/MODEL=INPUT,OUTPUT` in US dollars per million tokens, a budget `BUDGET_ID=USD`.
    """
    return Change(
        policy=None if objective is None else policy_of(objective),
        removed=tuple(removed),
        added=tuple(_added(number, text) for number, text in enumerate(added, 1)),
        metadata=_declared(limits),
        prices=dict(_price(text) for text in prices),
        budgets=dict(_budget(text) for text in budgets),
        book=book,
    )


def comparison_view(found: Comparison) -> dict[str, Any]:
    """Show history beside its runs: each figure before, and after.

    `after` is the middle of the runs that draw, `low` and `high` are the least and the greatest of all, that
    in which every key serves what it may included.
    """
    runs = [found.favourable, *found.runs]
    tallies = [run.tally for run in runs]
    return {
        "events": found.events,
        "requests": found.requests,
        "identical": found.identical,
        "runs": len(runs),
        "first_difference": _first_difference(runs),
        "outcomes": _ranges([run.bases for run in runs], ("recorded", "modelled", "unknown")),
        "figures": {
            name: {"before": getattr(found.before, name), **_range([getattr(one, name) for one in tallies])}
            for name in FIGURES
        },
        "refusals": _beside(found.before.refusals, [one.refusals for one in tallies]),
        "failures": _beside(found.before.failures, [one.failures for one in tallies]),
        "providers": _served(found.before, tallies, lambda tally: tally.providers),
        "keys": _served(found.before, tallies, lambda tally: tally.keys),
        "changed_choices": _range([sum(run.choices.values()) for run in runs]),
        "choices": [
            {"before": before, "after": after, "requests": count}
            for (before, after), count in sorted(runs[-1].choices.items(), key=lambda one: -one[1])
        ],
    }


def _first_difference(runs: list[Run]) -> dict[str, Any] | None:
    differing = [run for run in runs if run.first_difference is not None]
    if not differing:
        return None
    first = min(differing, key=lambda run: run.first_difference or 0)
    ref = None if first.differs_at is None else list(msgspec.to_builtins(first.differs_at))
    return {"position": first.first_difference, "event": ref}


def _range(values: list[Any]) -> dict[str, Any]:
    """Return the least, the middle of those behind the first, and the greatest; None if some are unknown."""
    if None in values:
        return {"low": None, "after": None, "high": None}
    drawn = sorted(values[1:]) or values
    return {"low": min(values), "after": drawn[(len(drawn) - 1) // 2], "high": max(values)}


def _ranges(counts: list[Mapping[str, int]], names: Iterable[str]) -> dict[str, dict[str, Any]]:
    return {name: _range([count.get(name, 0) for count in counts]) for name in names}


def _beside(before: Mapping[str, int], after: list[Mapping[str, int]]) -> dict[str, dict[str, Any]]:
    names = sorted({*before, *(name for one in after for name in one)})
    return {
        name: {"before": before.get(name, 0), **_range([one.get(name, 0) for one in after])} for name in names
    }


def _served(
    before: Tally, after: list[Tally], part: Callable[[Tally], Mapping[str, Served]]
) -> list[dict[str, Any]]:
    names = list(dict.fromkeys([*part(before), *(name for one in after for name in part(one))]))
    nothing = Served()
    return [
        {
            "id": name,
            **{
                figure: {
                    "before": getattr(part(before).get(name, nothing), figure),
                    **_range([getattr(part(one).get(name, nothing), figure) for one in after]),
                }
                for figure in Served.__struct_fields__
            },
        }
        for name in names
    ]


def _added(number: int, text: str) -> AddedKey:
    provider_id, _, declared = text.partition(":")
    if not provider_id:
        raise InvalidRequestError("a key is added as PROVIDER or PROVIDER:rpm=500,weight=2", param="add")
    metadata = dict(_entry(one, "add") for one in declared.split(",") if one)
    return AddedKey(key_id=f"added-{number}", provider_id=provider_id, metadata=metadata)


def _declared(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    declared: dict[str, dict[str, Any]] = {}
    for text in texts:
        whose, name = text.partition("=")[0].rpartition("@")[::2]
        _, value = _entry(text, "limit")
        declared.setdefault(whose or EVERY_KEY, {})[name] = value
    return declared


def _entry(text: str, param: str) -> tuple[str, Any]:
    """Read NAME=VALUE; nothing behind the sign lifts the entry."""
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise InvalidRequestError(f"{text[:40]!r} is not of the form NAME=VALUE", param=param)
    try:
        return name, msgspec.json.decode(value) if value else None
    except msgspec.DecodeError:
        return name, value


def _price(text: str) -> tuple[tuple[str, str], Prices]:
    place, _, amounts = text.rpartition("=")
    provider_id, slash, model = place.partition("/")
    told = amounts.split(",")
    if not (provider_id and slash and model) or len(told) != 2:
        raise InvalidRequestError("a price is PROVIDER/MODEL=INPUT,OUTPUT in US dollars", param="price")
    fields = {"input_usd_per_mtok": told[0], "output_usd_per_mtok": told[1]}
    return (provider_id, model), parse_prices(fields)


def _budget(text: str) -> tuple[str, int]:
    budget_id, _, amount = text.partition("=")
    try:
        limit = Decimal(amount)
    except InvalidOperation:
        limit = Decimal("NaN")
    if not budget_id or not limit.is_finite() or limit < 0:
        raise InvalidRequestError("a budget's limit is BUDGET_ID=USD", param="budget")
    return budget_id, nano_usd(limit)

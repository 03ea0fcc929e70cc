"""Which keys could serve a request at all: provider, model and capabilities, before any state is looked at.

A pool changes only with the catalogue, so it is kept until then.
"""

from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from apikeyrouter.domain.catalogue_folds import Provider
from apikeyrouter.domain.columns import Floats, Rows, Which
from apikeyrouter.domain.events import EventRef, Exclusion, RequestFacts
from apikeyrouter.domain.keys import Key
from apikeyrouter.domain.models.api_key import KeyState
from apikeyrouter.domain.offered import OfferedModel
from apikeyrouter.domain.pool_accounts import Accounting, Purses, accounting_of, purses_of
from apikeyrouter.domain.pool_costs import CostStep, cost_steps
from apikeyrouter.domain.pricing import Price
from apikeyrouter.domain.state import RouterState

MOST_POOLS = 64
MOST_EXCLUSIONS = 8
SELDOM_INTERESTING = frozenset({"other_provider", "key_revoked"})
UNLISTED_QUALITY = 0.5


class Member(NamedTuple):
    """A key of a pool, the model it would be asked for, and how its provider offers that."""

    key: Key
    provider: Provider
    offer: OfferedModel
    model: str


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """The keys that could serve, in the order of their registration, and why the others could not.

    `rows` point into the columns of the state, and so does `which`, as a slice where they stand in a row.
    `everyone` points into the arrays here. Prices hold until `priced_until_us`. `budget_rows` are budgets of
    all members, `own_budget_rows` those of each alone, `cheaper` the members that are asked for a cheaper
    model than the request named.
    """

    rows: Rows
    which: Which
    everyone: Rows
    members: tuple[Member, ...]
    prices: tuple[Price | None, ...]
    cost_steps: tuple[CostStep, ...]
    priced_until_us: float
    quality: Floats
    pinned: NDArray[np.bool_] | None
    bounds_concurrency: bool
    accounting: Accounting | None
    output_limits: Floats | None
    budget_rows: tuple[int, ...]
    own_budget_rows: tuple[tuple[int, ...], ...] | None
    purses: Purses | None
    cheaper: NDArray[np.bool_] | None
    excluded: dict[str, int]
    exclusions: tuple[Exclusion, ...]


def pool_for(state: RouterState, facts: RequestFacts, *, downgraded: bool = False) -> Pool:
    """Return the pool of a request, from the cache where neither the catalogue nor a price has changed."""
    name = (facts.model, facts.provider_id, facts.needs, downgraded)
    pool: Pool | None = state.pools.get(name)
    if pool is None or state.latest_us >= pool.priced_until_us:
        if len(state.pools) >= MOST_POOLS:
            state.pools.clear()
        pool = state.pools[name] = build_pool(state, facts, downgraded=downgraded)
    return pool


def build_pool(state: RouterState, facts: RequestFacts, *, downgraded: bool = False) -> Pool:
    """Ask every key the rules of the catalogue; the first rule that refuses names itself."""
    members: list[Member] = []
    excluded: dict[str, int] = {}
    exclusions: list[Exclusion] = []
    others = _other_models(state, facts.model, downgraded=downgraded)
    for key_id in state.key_ids:
        key = state.keys[key_id]
        rule = catalogue_rule(state, key, facts)
        models = [] if rule else [facts.model]
        models += [model for model in others if _lists_and_allows(state, key, facts, model)]
        if models:
            provider = state.providers[key.provider_id]
            members += [Member(key, provider, provider.models.get(model), model) for model in models]
            continue
        assert rule is not None  # noqa: S101 - else the model that was asked for is served
        excluded[rule] = excluded.get(rule, 0) + 1
        if len(exclusions) < MOST_EXCLUSIONS and rule not in SELDOM_INTERESTING:
            evidence = EventRef(f"key-{key_id}", 1)
            exclusions.append(Exclusion(key_id=key_id, rule=rule, evidence=evidence))
    return _pool(state, facts, members, excluded, exclusions)


def _other_models(state: RouterState, model: str, *, downgraded: bool) -> tuple[str, ...]:
    equated = state.equated.get(model)
    if equated is None:
        return ()
    return (*equated.equivalents, *equated.cheaper) if downgraded else equated.equivalents


def _lists_and_allows(state: RouterState, key: Key, facts: RequestFacts, model: str) -> bool:
    """Tell whether a key serves another model; only one that its provider lists, for others are a guess."""
    provider = state.providers.get(key.provider_id)
    if provider is None or model not in provider.models:
        return False
    return catalogue_rule(state, key, msgspec.structs.replace(facts, model=model)) is None


def catalogue_rule(state: RouterState, key: Key, facts: RequestFacts) -> str | None:
    """Name the first rule of the catalogue that refuses a key for a request."""
    provider = state.providers.get(key.provider_id)
    return next((name for name, refuses in _RULES if refuses(key, provider, facts)), None)


def _model_not_offered(_key: Key, provider: Provider | None, facts: RequestFacts) -> bool:
    return provider is not None and bool(provider.models) and facts.model not in provider.models


def _model_not_allowed(key: Key, _provider: Provider | None, facts: RequestFacts) -> bool:
    models = key.models
    return models is not None and facts.model not in models


def _capability_missing(_key: Key, provider: Provider | None, facts: RequestFacts) -> bool:
    declared = provider.models.get(facts.model).declared if provider is not None else None
    able = declared.capabilities if declared is not None else None
    return able is not None and not set(facts.needs) <= set(able)


_RULES: tuple[tuple[str, Callable[[Key, Provider | None, RequestFacts], bool]], ...] = (
    ("key_revoked", lambda key, _provider, _facts: key.state is KeyState.Revoked),
    ("other_provider", lambda key, _provider, facts: facts.provider_id not in {None, key.provider_id}),
    ("provider_unknown", lambda _key, provider, _facts: provider is None),
    ("model_not_offered", _model_not_offered),
    ("model_not_allowed_for_key", _model_not_allowed),
    ("capability_missing", _capability_missing),
)


def _pool(
    state: RouterState,
    facts: RequestFacts,
    members: list[Member],
    excluded: dict[str, int],
    exclusions: list[Exclusion],
) -> Pool:
    places = [(member.provider.provider_id, member.model) for member in members]
    offers = {place: member.offer for place, member in zip(places, members, strict=True)}
    prices = {place: offer.price_at(state.latest_us) for place, offer in offers.items()}
    changes = (offer.price_changes_after(state.latest_us) for offer in offers.values())
    rows = [member.key.row for member in members]
    limits = [_output_limit(member.offer) for member in members]
    accounts = [state.quotas.rows_for(member.key.key_id, member.model) for member in members]
    budgets = [
        state.budgets.rows_of_member(*place, member.key.key_id)
        for place, member in zip(places, members, strict=True)
    ]
    shared = set.intersection(*map(set, budgets)) if budgets else set()
    return Pool(
        rows=np.array(rows, dtype=np.intp),
        which=_which(rows),
        everyone=np.arange(len(members)),
        members=tuple(members),
        prices=tuple(prices[place] for place in places),
        cost_steps=cost_steps(places, prices, facts.needs),
        priced_until_us=min(changes, default=inf),
        quality=_floats([_quality(member.offer) for member in members]),
        pinned=_marks(member.key.pinned for member in members),
        bounds_concurrency=bool((state.columns.most_in_flight[rows] < inf).any()),
        accounting=accounting_of(accounts, state.quotas.places),
        output_limits=_floats(limits) if any(limits) else None,
        budget_rows=tuple(sorted(shared)),
        own_budget_rows=_own(budgets, shared),
        purses=purses_of(budgets, shared, state.budgets.is_hard),
        cheaper=_marks(_is_cheaper(state, facts.model, member.model) for member in members),
        excluded=excluded,
        exclusions=tuple(exclusions),
    )


def _own(budgets: list[tuple[int, ...]], shared: set[int]) -> tuple[tuple[int, ...], ...] | None:
    own = tuple(tuple(row for row in rows if row not in shared) for rows in budgets)
    return own if any(own) else None


def _which(rows: list[int]) -> Which:
    in_a_row = bool(rows) and rows == list(range(rows[0], rows[0] + len(rows)))
    return slice(rows[0], rows[0] + len(rows)) if in_a_row else np.array(rows, dtype=np.intp)


def _output_limit(offer: OfferedModel) -> int:
    return 0 if offer.declared is None else offer.declared.max_output_tokens or 0


def _is_cheaper(state: RouterState, asked: str, served: str) -> bool:
    equated = state.equated.get(asked)
    return equated is not None and served != asked and served in equated.cheaper


def _quality(offer: OfferedModel) -> float:
    return UNLISTED_QUALITY if offer.declared is None else offer.declared.quality


def _marks(values: Iterable[bool]) -> NDArray[np.bool_] | None:
    marks = np.array(list(values), dtype=np.bool_)
    return marks if marks.any() else None


def _floats(values: Sequence[float]) -> Floats:
    return np.array(values, dtype=np.float64)

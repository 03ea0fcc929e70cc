"""Which keys could serve a request at all: provider, model and capabilities, before any state is looked at.

A pool changes only with the catalogue, so it is kept until then.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
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
from apikeyrouter.domain.pricing import TOKENS_PER_PRICE, Price, Rates, rates_of
from apikeyrouter.domain.state import RouterState

MOST_POOLS = 64
MOST_EXCLUSIONS = 8
SELDOM_INTERESTING = frozenset({"other_provider", "key_revoked"})
UNPRICED = -1.0
USUAL_OUTPUT_TOKENS = 1024
UNLISTED_QUALITY = 0.5
MOST_EXACT = 2.0**52
ABOVE_ROUNDING = 1.0 + 2.0**-49
"""Products of tokens and prices are exact below the one; above it the other makes up for their rounding."""


class Member(NamedTuple):
    """A key of a pool with the offer by which its provider would serve the request."""

    key: Key
    provider: Provider
    offer: OfferedModel


class CostStep(NamedTuple):
    """The dearest prices of a pool's members for requests with more than so much input; below 0 unknown."""

    above_input_tokens: int
    input_price: Floats
    output_price: Floats
    request_price: Floats | None
    unpriced: NDArray[np.bool_] | None
    any_priced: bool
    dearest: Rates


class Accounting(NamedTuple):
    """The accounts that a pool's members draw on, flat: member after member, each with its accounts.

    `rows` point into the accounts, `members` into the pool, `dimensions` into `Amounts`. `limited` are the
    members that have any, `starts` where the accounts of each of them begin, `places` where they stand.
    """

    rows: Rows
    members: Rows
    dimensions: Rows
    limited: Rows
    starts: Rows
    places: dict[int, slice]


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """The keys that could serve, in the order of their registration, and why the others could not.

    `rows` point into the columns of the state, and so does `which`, as a slice where they stand in a row.
    `everyone` points into the arrays here. Prices hold until `priced_until_us`.
    """

    rows: Rows
    which: Which
    everyone: Rows
    members: tuple[Member, ...]
    cost_steps: tuple[CostStep, ...]
    priced_until_us: float
    quality: Floats
    pinned: NDArray[np.bool_] | None
    bounds_concurrency: bool
    accounting: Accounting | None
    excluded: dict[str, int]
    exclusions: tuple[Exclusion, ...]

    def cost_bounds(self, input_tokens: int, output_tokens: int) -> Floats:
        """Bound the cost of a request on each member in nano-USD; below zero where no price is known."""
        steps = self.cost_steps
        step = steps[0] if len(steps) == 1 else steps[bisect_left(steps, (input_tokens,)) - 1]
        if not step.any_priced:
            return step.input_price
        output_tokens = output_tokens or USUAL_OUTPUT_TOKENS
        bound = step.input_price * input_tokens + step.output_price * output_tokens
        if step.request_price is not None:
            bound += step.request_price
        dearest = step.dearest
        if dearest.input * input_tokens + dearest.output * output_tokens + dearest.request >= MOST_EXACT:
            bound *= ABOVE_ROUNDING
        bound = np.ceil(bound / TOKENS_PER_PRICE)
        if step.unpriced is not None:
            bound[step.unpriced] = UNPRICED
        return bound


def pool_for(state: RouterState, facts: RequestFacts) -> Pool:
    """Return the pool of a request, from the cache where neither the catalogue nor a price has changed."""
    name = (facts.model, facts.provider_id, facts.needs)
    pool: Pool | None = state.pools.get(name)
    if pool is None or state.latest_us >= pool.priced_until_us:
        if len(state.pools) >= MOST_POOLS:
            state.pools.clear()
        pool = state.pools[name] = build_pool(state, facts)
    return pool


def build_pool(state: RouterState, facts: RequestFacts) -> Pool:
    """Ask every key the rules of the catalogue; the first rule that refuses names itself."""
    members: list[Member] = []
    excluded: dict[str, int] = {}
    exclusions: list[Exclusion] = []
    for key_id in state.key_ids:
        key = state.keys[key_id]
        rule = catalogue_rule(state, key, facts)
        if rule is None:
            provider = state.providers[key.provider_id]
            members.append(Member(key, provider, provider.models.get(facts.model)))
            continue
        excluded[rule] = excluded.get(rule, 0) + 1
        if len(exclusions) < MOST_EXCLUSIONS and rule not in SELDOM_INTERESTING:
            evidence = EventRef(f"key-{key_id}", 1)
            exclusions.append(Exclusion(key_id=key_id, rule=rule, evidence=evidence))
    return _pool(state, facts, members, excluded, exclusions)


def _accounting(state: RouterState, members: list[Member], model: str) -> Accounting | None:
    quotas = state.quotas
    drawn = [quotas.rows_for(member.key.key_id, model) for member in members]
    rows = [row for each in drawn for row in each]
    if not rows:
        return None
    limited = [index for index, each in enumerate(drawn) if each]
    sizes = [len(drawn[index]) for index in limited]
    starts = np.cumsum([0, *sizes[:-1]], dtype=np.intp)
    return Accounting(
        rows=np.array(rows, dtype=np.intp),
        members=np.repeat(np.array(limited, dtype=np.intp), sizes),
        dimensions=np.array([quotas.places[row] for row in rows], dtype=np.intp),
        limited=np.array(limited, dtype=np.intp),
        starts=starts,
        places={
            index: slice(start, start + size)
            for index, start, size in zip(limited, starts.tolist(), sizes, strict=True)
        },
    )


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
    offers = {member.provider.provider_id: member.offer for member in members}
    changes = (offer.price_changes_after(state.latest_us) for offer in offers.values())
    rows = [member.key.row for member in members]
    pinned = np.array([member.key.pinned for member in members], dtype=np.bool_)
    return Pool(
        rows=np.array(rows, dtype=np.intp),
        which=_which(rows),
        everyone=np.arange(len(members)),
        members=tuple(members),
        cost_steps=_cost_steps(members, offers, facts, state.latest_us),
        priced_until_us=min(changes, default=inf),
        quality=_floats([_quality(member.offer) for member in members]),
        pinned=pinned if pinned.any() else None,
        bounds_concurrency=bool((state.columns.most_in_flight[rows] < inf).any()),
        accounting=_accounting(state, members, facts.model),
        excluded=excluded,
        exclusions=tuple(exclusions),
    )


def _which(rows: list[int]) -> Which:
    in_a_row = bool(rows) and rows == list(range(rows[0], rows[0] + len(rows)))
    return slice(rows[0], rows[0] + len(rows)) if in_a_row else np.array(rows, dtype=np.intp)


def _cost_steps(
    members: list[Member], offers: dict[str, OfferedModel], facts: RequestFacts, at_us: int
) -> tuple[CostStep, ...]:
    """Lay out the prices in columns, anew for each length of input from which somebody's are others."""
    prices = {provider_id: offer.price_at(at_us) for provider_id, offer in offers.items()}
    lengths = {tier.above_input_tokens for price in prices.values() if price for tier in price.tiers}
    return tuple(_cost_step(members, prices, facts, length) for length in (-1, *sorted(lengths)))


def _cost_step(
    members: list[Member], prices: dict[str, Price | None], facts: RequestFacts, length: int
) -> CostStep:
    rates = {provider_id: _dearest(price, facts, length) for provider_id, price in prices.items()}
    known = [rate for rate in rates.values() if rate is not None]
    by_member = [rates[member.provider.provider_id] for member in members]
    unpriced = np.array([rate is None for rate in by_member], dtype=np.bool_)
    requests = [0 if rate is None else rate.request for rate in by_member]
    return CostStep(
        above_input_tokens=length,
        input_price=_floats([UNPRICED if rate is None else rate.input for rate in by_member]),
        output_price=_floats([UNPRICED if rate is None else rate.output for rate in by_member]),
        request_price=_floats(requests) if any(requests) else None,
        unpriced=unpriced if unpriced.any() else None,
        any_priced=not unpriced.all(),
        dearest=_dearest_of(known),
    )


def _dearest(price: Price | None, facts: RequestFacts, length: int) -> Rates | None:
    """Return the dearest rates of requests up to the next length; a bound must hold for shorter ones too."""
    if price is None:
        return None
    known = [rates_of(prices, facts.needs) for prices in price.up_to(length + 1)]
    return None if None in known else _dearest_of([rates for rates in known if rates is not None])


def _dearest_of(known: list[Rates]) -> Rates:
    return Rates(
        max((rates.input for rates in known), default=0),
        max((rates.output for rates in known), default=0),
        max((rates.request for rates in known), default=0),
    )


def _quality(offer: OfferedModel) -> float:
    return UNLISTED_QUALITY if offer.declared is None else offer.declared.quality


def _floats(values: Sequence[float]) -> Floats:
    return np.array(values, dtype=np.float64)

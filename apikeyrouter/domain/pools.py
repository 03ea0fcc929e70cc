"""Which keys could serve a request at all: provider, model and capabilities, before any state is looked at.

A pool changes only with the catalogue, so it is kept until then.
"""

from collections.abc import Callable
from math import inf
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from apikeyrouter.domain.catalogue_folds import Provider
from apikeyrouter.domain.columns import Floats, Rows, Which
from apikeyrouter.domain.events import EventRef, Exclusion, ModelOffer, RequestFacts
from apikeyrouter.domain.keys import Key
from apikeyrouter.domain.models.api_key import KeyState
from apikeyrouter.domain.pricing import TOKENS_PER_PRICE
from apikeyrouter.domain.state import RouterState

MOST_POOLS = 64
MOST_EXCLUSIONS = 8
SELDOM_INTERESTING = frozenset({"other_provider", "key_revoked"})
UNPRICED = -1.0
USUAL_OUTPUT_TOKENS = 1024
UNLISTED_QUALITY = 0.5


class Member(NamedTuple):
    """A key of a pool with the offer by which its provider would serve the request."""

    key: Key
    provider: Provider
    offer: ModelOffer | None


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
    `everyone` points into the arrays here. Prices below 0 are unknown.
    """

    rows: Rows
    which: Which
    everyone: Rows
    members: tuple[Member, ...]
    input_price: Floats
    output_price: Floats
    all_priced: bool
    any_priced: bool
    quality: Floats
    pinned: NDArray[np.bool_] | None
    bounds_concurrency: bool
    accounting: Accounting | None
    excluded: dict[str, int]
    exclusions: tuple[Exclusion, ...]

    def cost_bounds(self, input_tokens: int, output_tokens: int) -> Floats:
        """Bound the cost of a request on each member in nano-USD; below zero where no price is known."""
        if not self.any_priced:
            return self.input_price
        output_tokens = output_tokens or USUAL_OUTPUT_TOKENS
        bound = (self.input_price * input_tokens + self.output_price * output_tokens) / TOKENS_PER_PRICE
        if not self.all_priced:
            bound[(self.input_price < 0.0) | (self.output_price < 0.0)] = UNPRICED
        return bound


def pool_for(state: RouterState, facts: RequestFacts) -> Pool:
    """Return the pool of a request, from the cache where the catalogue has not changed since."""
    name = (facts.model, facts.provider_id, facts.needs)
    pool: Pool | None = state.pools.get(name)
    if pool is None:
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
    return _pool(state, members, _accounting(state, members, facts.model), excluded, exclusions)


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
    offer = provider.models.get(facts.model) if provider is not None else None
    able = offer.capabilities if offer is not None else None
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
    members: list[Member],
    accounting: Accounting | None,
    excluded: dict[str, int],
    exclusions: list[Exclusion],
) -> Pool:
    offers = [member.offer for member in members]
    input_price = _floats([_price(offer, "input_nano_usd_per_mtok") for offer in offers])
    output_price = _floats([_price(offer, "output_nano_usd_per_mtok") for offer in offers])
    priced = (input_price >= 0.0) & (output_price >= 0.0)
    if not priced.any():
        input_price = np.full(len(members), UNPRICED)
    rows = [member.key.row for member in members]
    pinned = np.array([member.key.pinned for member in members], dtype=np.bool_)
    return Pool(
        rows=np.array(rows, dtype=np.intp),
        which=_which(rows),
        everyone=np.arange(len(members)),
        members=tuple(members),
        input_price=input_price,
        output_price=output_price,
        all_priced=bool(priced.all()),
        any_priced=bool(priced.any()),
        quality=_floats([UNLISTED_QUALITY if offer is None else offer.quality for offer in offers]),
        pinned=pinned if pinned.any() else None,
        bounds_concurrency=bool((state.columns.most_in_flight[rows] < inf).any()),
        accounting=accounting,
        excluded=excluded,
        exclusions=tuple(exclusions),
    )


def _which(rows: list[int]) -> Which:
    in_a_row = bool(rows) and rows == list(range(rows[0], rows[0] + len(rows)))
    return slice(rows[0], rows[0] + len(rows)) if in_a_row else np.array(rows, dtype=np.intp)


def _price(offer: ModelOffer | None, side: str) -> float:
    price: int | None = getattr(offer, side, None)
    return UNPRICED if price is None else float(price)


def _floats(values: list[float]) -> Floats:
    return np.array(values, dtype=np.float64)

"""What is to be different: another objective, other prices, other limits, other keys."""

from collections.abc import Iterator, Mapping

import msgspec

from apikeyrouter.domain import keys
from apikeyrouter.domain.events import (
    CATALOGUE_STREAM,
    BudgetOpened,
    BudgetTerms,
    BudgetTermsSet,
    Event,
    KeyMetadataChanged,
    KeyRegistered,
    Metadata,
    Policy,
    PriceBookAdopted,
    Prices,
    PriceSet,
    budget_stream,
    key_stream,
)
from apikeyrouter.domain.key_metadata import check_metadata
from apikeyrouter.domain.keys import Key
from apikeyrouter.domain.models.api_key import KeyState
from apikeyrouter.domain.models.system_error import NotFoundError
from apikeyrouter.domain.price_book import PriceBook
from apikeyrouter.domain.state import RouterState

ACTOR = "what-if"
EVERY_KEY = "*"


class AddedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that there was not; it is there as soon as its provider is."""

    key_id: str
    provider_id: str
    metadata: Metadata = msgspec.field(default_factory=dict)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is different in one what-if; nothing by default.

    `metadata` has by key id, or for every key under "*", what is declared otherwise: limits, weight, models;
    None lifts an entry. `prices` are by provider and model, `budgets` limits in nano-USD by budget id.
    """

    policy: Policy | None = None
    removed: tuple[str, ...] = ()
    added: tuple[AddedKey, ...] = ()
    metadata: Mapping[str, Mapping[str, object]] = msgspec.field(default_factory=dict)
    prices: Mapping[tuple[str, str], Prices] = msgspec.field(default_factory=dict)
    budgets: Mapping[str, int] = msgspec.field(default_factory=dict)
    book: PriceBook | None = None

    @property
    def is_nothing(self) -> bool:
        """True where history is to be made again as it was."""
        return self == Change()

    def refuse_unmet(self, state: RouterState) -> None:
        """Refuse names that were in no event: a slip of the pen would look as if nothing mattered."""
        named_keys = {*self.removed, *self.metadata} - {EVERY_KEY}
        named_providers = {provider_id for provider_id, _ in self.prices}
        named_providers |= {key.provider_id for key in self.added}
        unmet = (
            [f"key {name!r}" for name in sorted(named_keys - set(state.keys))]
            + [f"provider {name!r}" for name in sorted(named_providers - set(state.providers))]
            + [f"budget {name!r}" for name in sorted(set(self.budgets) - set(state.budgets.by_id))]
        )
        if unmet:
            raise NotFoundError(f"up to the end of that stretch there was no {unmet[0]}", param="change")

    def policy_for(self, recorded: Policy) -> Policy:
        """Return the policy that a request is routed by."""
        return self.policy or recorded

    def terms(self, stream: str, terms: BudgetTerms) -> BudgetTerms:
        """Return the terms of the budget that a stream is of."""
        limit = self.budgets.get(stream.removeprefix("budget-"))
        return terms if limit is None else msgspec.structs.replace(terms, limit_nano_usd=limit)

    def declared(self, key_id: str, metadata: Metadata) -> Metadata:
        """Return what is declared of a key."""
        other = {**self.metadata.get(EVERY_KEY, {}), **self.metadata.get(key_id, {})}
        if not other:
            return metadata
        merged: dict[str, object] = {**metadata, **other}
        return check_metadata({name: value for name, value in merged.items() if value is not None})

    def of_managers(self, stream: str, event: Event) -> Event | None:
        """Return what a manager did as it is done now; None where it never happens."""
        match event:
            case BudgetOpened() | BudgetTermsSet():
                return msgspec.structs.replace(event, terms=self.terms(stream, event.terms))
            case PriceBookAdopted() if self.book is not None:
                return None
            case PriceSet(provider_id=provider_id, model=model) if (provider_id, model) in self.prices:
                return None
        return event


class Interventions:
    """The events that bring a change about, each as soon as what it concerns is there."""

    def __init__(self, change: Change) -> None:
        self._removed = set(change.removed)
        self._added = list(change.added)
        self._prices = dict(change.prices)
        self._book = change.book
        self._redeclared = set(change.metadata)
        self._change = change

    def due(self, state: RouterState) -> Iterator[tuple[str, Event]]:
        """Yield the next events and the streams that they belong to; the caller records each at once."""
        at_us = state.latest_us
        if self._book is not None:
            book, self._book = self._book, None
            yield CATALOGUE_STREAM, book.adopted(at_us=at_us, actor=ACTOR)
        yield from self._priced(state, at_us)
        yield from self._registered(state, at_us)
        for key_id in [key_id for key_id in self._removed if key_id in state.keys]:
            self._removed.discard(key_id)
            yield from _revoked(state.keys[key_id], at_us)

    def redeclared(self, state: RouterState) -> Iterator[tuple[str, Event]]:
        """Declare anew what is otherwise of the keys and budgets that are there already."""
        for key in list(state.keys.values()):
            declared = self._change.declared(key.key_id, key.metadata)
            if declared != key.metadata and key.state is not KeyState.Revoked:
                event = KeyMetadataChanged(at_us=state.latest_us, actor=ACTOR, metadata=declared)
                yield key_stream(key.key_id), event
        for budget in list(state.budgets.by_row):
            stream = budget_stream(budget.budget_id)
            terms = self._change.terms(stream, budget.terms)
            if terms != budget.terms and not budget.is_closed:
                yield stream, BudgetTermsSet(at_us=state.latest_us, actor=ACTOR, terms=terms)

    def _priced(self, state: RouterState, at_us: int) -> Iterator[tuple[str, Event]]:
        for provider_id, model in [place for place in self._prices if place[0] in state.providers]:
            prices = self._prices.pop((provider_id, model))
            yield (
                CATALOGUE_STREAM,
                PriceSet(
                    at_us=at_us,
                    actor=ACTOR,
                    provider_id=provider_id,
                    model=model,
                    prices_nano_usd_per_million=prices,
                ),
            )

    def _registered(self, state: RouterState, at_us: int) -> Iterator[tuple[str, Event]]:
        for key in [key for key in self._added if key.provider_id in state.providers]:
            self._added.remove(key)
            yield (
                key_stream(key.key_id),
                KeyRegistered(
                    at_us=at_us,
                    actor=ACTOR,
                    provider_id=key.provider_id,
                    fingerprint=f"{ACTOR}-{key.key_id}",
                    metadata=check_metadata(key.metadata),
                ),
            )


def _revoked(key: Key, at_us: int) -> Iterator[tuple[str, Event]]:
    if key.state is not KeyState.Revoked:
        yield key_stream(key.key_id), keys.revoke(key, at_us=at_us, actor=ACTOR, reason=ACTOR)

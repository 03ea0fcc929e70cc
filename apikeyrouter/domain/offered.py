"""What a provider offers, and at which prices: an administrator's, else its list's, else the book's."""

from collections.abc import Iterator, Mapping, ValuesView
from math import inf

import msgspec

from apikeyrouter.domain.events import ModelOffer, Prices
from apikeyrouter.domain.price_book import ModelPrice, PriceBook, price_for_entry
from apikeyrouter.domain.pricing import ADMINISTRATOR, Price, price_of_offer

MOST_REMEMBERED = 1_000
"""Clients choose the names of models, so what is remembered by them is bounded."""


class OfferedModel(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A model as a provider would serve it: what is declared of it, if anything, and what it costs."""

    declared: ModelOffer | None
    own_price: Price | None = None
    entry: ModelPrice | None = None
    book: str = ""

    def price_at(self, at_us: int) -> Price | None:
        """Return the price of an instant; what administrators say outranks the book."""
        if self.own_price is not None or self.entry is None:
            return self.own_price
        return price_for_entry(self.entry, at_us, self.book)

    def priced_at(self, at_us: int) -> "OfferedModel":
        """Return it at the price of an instant, whatever it costs later."""
        if self.own_price is not None or self.entry is None:
            return self
        return msgspec.structs.replace(self, own_price=self.price_at(at_us), entry=None)

    def price_changes_after(self, at_us: int) -> float:
        """Return the next instant at which the price may be another."""
        return inf if self.own_price is not None or self.entry is None else self.entry.changes_after(at_us)


class Offers:
    """The models that a provider lists, and what any other costs there.

    In, iteration, `values` and truth are about what is listed; `get` answers for every model.
    """

    def __init__(
        self,
        listed: Mapping[str, ModelOffer],
        set_prices: Mapping[str, Prices],
        book: PriceBook | None,
        place: tuple[str, str | None],
    ) -> None:
        """Combine what a provider lists with prices from elsewhere; `place` is its kind and address."""
        self.listed = dict(listed)
        self._set_prices = dict(set_prices)
        self._book = book
        self._place = place
        self._found: dict[str, OfferedModel] = {}

    def __bool__(self) -> bool:
        return bool(self.listed)

    def __contains__(self, model: str) -> bool:
        return model in self.listed

    def __iter__(self) -> Iterator[str]:
        return iter(self.listed)

    def values(self) -> ValuesView[ModelOffer]:
        """Return what is declared of the listed models."""
        return self.listed.values()

    def get(self, model: str) -> OfferedModel:
        """Return how a model would be served, whether it is listed or not."""
        found = self._found.get(model)
        if found is None:
            if len(self._found) >= MOST_REMEMBERED:
                self._found.clear()
            found = self._found[model] = self._find(model)
        return found

    def _find(self, model: str) -> OfferedModel:
        declared, prices = self.listed.get(model), self._set_prices.get(model)
        own = price_of_offer(declared) if prices is None else Price(prices=prices, source=ADMINISTRATOR)
        if own is not None or self._book is None:
            return OfferedModel(declared=declared, own_price=own)
        entry = self._book.find(*self._place, model)
        return OfferedModel(declared=declared, entry=entry, book=self._book.sha256)

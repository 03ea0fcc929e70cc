"""Which prices are in force: a book is adopted by an event, never by an upgrade; own prices outrank it."""

import asyncio
from collections.abc import Callable

import msgspec

from apikeyrouter.application.journal import Journal
from apikeyrouter.application.ports import Clock
from apikeyrouter.application.providers import require_provider
from apikeyrouter.domain.events import CATALOGUE_STREAM, Event, Prices, PriceSet
from apikeyrouter.domain.models.system_error import ConflictError, InvalidRequestError, NotFoundError
from apikeyrouter.domain.offers import checked_name
from apikeyrouter.domain.price_book import Difference, PriceBook, differences

FIRST_START = "first_start"


class Comparison(msgspec.Struct, frozen=True):
    """The book in force, the one in the installed package, and where they differ as of now."""

    in_force: PriceBook | None
    packaged: PriceBook
    differences: tuple[Difference, ...]


class PriceBooks:
    """Adopt books of prices, and set prices that outrank them."""

    def __init__(self, *, journal: Journal, clock: Clock, packaged: Callable[[], PriceBook]) -> None:
        """Wire the use case; `packaged` reads the installed book, which takes a while at first."""
        self._journal = journal
        self._clock = clock
        self._packaged = packaged

    async def adopt_at_first_start(self) -> None:
        """Adopt the installed book in a log that never had one; whatever was adopted once stays."""
        if self._journal.state.price_book_ref is None:
            book = await asyncio.to_thread(self._packaged)
            await self._adopt(book, FIRST_START)

    async def compare(self) -> Comparison:
        """Compare the installed book with the one in force."""
        packaged = await asyncio.to_thread(self._packaged)
        in_force = self._journal.state.price_book
        now_us = self._clock.now_us()
        found = await asyncio.to_thread(lambda: tuple(differences(in_force, packaged, now_us)))
        return Comparison(in_force, packaged, found)

    async def adopt(self, sha256: str | None = None, *, actor: str) -> PriceBook:
        """Adopt the installed book; with a hash only if it is the very book that was looked at.

        Raises `ConflictError` if it is another, or if it is in force already.
        """
        book = await asyncio.to_thread(self._packaged)
        if sha256 is not None and sha256 != book.sha256:
            raise ConflictError(
                f"the installed book has another hash, {book.sha256}: look at the differences again",
                param="sha256",
            )
        in_force = self._journal.state.price_book
        if in_force is not None and in_force.sha256 == book.sha256:
            raise ConflictError(f"this book is in force already: {book.source} {book.source_version}")
        await self._adopt(book, actor)
        return book

    async def set_price(self, provider_id: str, model: str, prices: Prices | None, *, actor: str) -> None:
        """Set what a model costs at a provider, above its list and the book; None withdraws that."""
        state = self._journal.state
        require_provider(state, provider_id)
        checked_name(model)
        if prices is not None and (prices.input is None or prices.output is None):
            raise InvalidRequestError("a price needs an input and an output; either may be 0", param="prices")
        if prices is None and model not in state.set_prices.get(provider_id, {}):
            raise NotFoundError(f"no price is set for {model[:200]!r} at {provider_id}", param="model")
        await self._record(
            PriceSet(
                at_us=self._clock.now_us(),
                actor=actor,
                provider_id=provider_id,
                model=model,
                prices_nano_usd_per_million=prices,
            )
        )

    async def _adopt(self, book: PriceBook, actor: str) -> None:
        at_us = self._clock.now_us()
        written = await asyncio.to_thread(lambda: book.adopted(at_us=at_us, actor=actor))
        # Writing the book takes a while in which others record: adopted it is now, and not when that began.
        await self._record(msgspec.structs.replace(written, at_us=self._clock.now_us()))

    async def _record(self, event: Event) -> None:
        await self._journal.settled(self._journal.record_next(CATALOGUE_STREAM, event))

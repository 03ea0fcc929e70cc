"""A book of prices: what models cost at whom, and since when. Pure; where it comes from is told elsewhere.

The JSON of a book is stored in the event that adopts it, so the shapes here are as lasting as an event's.
"""

import base64
import binascii
import re
import zlib
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from hashlib import sha256
from math import inf
from typing import NamedTuple

import msgspec

from apikeyrouter.domain.events import PriceBookAdopted, Prices, canonical_bytes
from apikeyrouter.domain.pricing import BOOK, Price, Tier

MOST_BOOK_BYTES = 16 * 1024 * 1024
DAY_US = 86_400_000_000
BOOKS_KEPT = 4


class Period(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """Prices and when they hold: from an instant on, or daily between two times (UTC, microseconds)."""

    from_us: int | None = None
    daily_us: tuple[int, int] | None = None
    prices: Prices = Prices()
    tiers: tuple[Tier, ...] = ()

    def holds(self, at_us: int) -> bool:
        """Tell if these prices hold at an instant."""
        if self.daily_us is not None:
            begin_us, end_us = self.daily_us
            time_us = at_us % DAY_US
            if end_us < begin_us:
                return time_us >= begin_us or time_us < end_us
            return begin_us <= time_us < end_us
        return self.from_us is None or at_us >= self.from_us

    def changes_after(self, at_us: int) -> float:
        """Return the next instant at which it may begin or cease to hold."""
        if self.daily_us is not None:
            return min(at_us + 1 + (edge_us - at_us - 1) % DAY_US for edge_us in self.daily_us)
        return self.from_us if self.from_us is not None and self.from_us > at_us else inf


class Pattern(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A part of a model's name: how it "starts" or "ends", what it "contains", or a "regex"."""

    kind: str
    text: str

    def fits(self, name: str) -> bool:
        """Tell if a name in lower case has it."""
        match self.kind:
            case "starts":
                return name.startswith(self.text)
            case "ends":
                return name.endswith(self.text)
            case "contains":
                return self.text in name
        return self.kind == "regex" and _compiled(self.text).search(name) is not None


class ModelPrice(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A model under all names that it goes by, and its prices: of those that hold the last counts."""

    model: str
    names: tuple[str, ...] = ()
    patterns: tuple[Pattern, ...] = ()
    periods: tuple[Period, ...] = ()

    def goes_by(self, name: str) -> bool:
        """Tell if a name in lower case is one of its own."""
        return name in self.names or any(pattern.fits(name) for pattern in self.patterns)

    def at(self, at_us: int) -> Period:
        """Return the prices of an instant."""
        holding = (period for period in reversed(self.periods) if period.holds(at_us))
        return next(holding, self.periods[0] if self.periods else Period())

    def changes_after(self, at_us: int) -> float:
        """Return the next instant at which the prices may change."""
        return min((period.changes_after(at_us) for period in self.periods), default=inf)


class Section(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """The models of one provider, known by the kind of its adapter or by its address (a regex)."""

    provider: str
    address: str
    also: tuple[str, ...] = ()
    models: tuple[ModelPrice, ...] = ()

    def find(self, name: str) -> ModelPrice | None:
        """Find the first entry that goes by a name in lower case."""
        return next((entry for entry in self.models if entry.goes_by(name)), None)


class Difference(NamedTuple):
    """A model whose price is another in another book, with what held and would hold at one instant.

    `change` is "added", "removed", "changed", or "otherwise" where only names, tiers or other times differ.
    """

    provider: str
    model: str
    change: str
    before: Prices | None
    after: Prices | None


class PriceBook:
    """Sections by provider, known by the hash of their content."""

    def __init__(self, source: str, source_version: str, sections: Sequence[Section]) -> None:
        self.source = source
        self.source_version = source_version
        self.sections = {section.provider: section for section in sections}

    @cached_property
    def content(self) -> bytes:
        """The canonical JSON."""
        return canonical_bytes(tuple(self.sections.values()))

    @cached_property
    def sha256(self) -> str:
        """The hash of the content."""
        return sha256(self.content).hexdigest()

    @property
    def models(self) -> int:
        """How many models have an entry."""
        return sum(len(section.models) for section in self.sections.values())

    def section_for(self, kind: str, base_url: str | None) -> Section | None:
        """Find a provider: by its address if it has one, else by its adapter's kind; nothing is guessed."""
        if base_url is None:
            return self.sections.get(kind)
        sections = self.sections.values()
        return next((one for one in sections if _compiled(one.address).match(base_url)), None)

    def find(self, kind: str, base_url: str | None, model: str) -> ModelPrice | None:
        """Find a model at a provider, or at those whose models it also serves."""
        section, name = self.section_for(kind, base_url), model.lower()
        if section is None:
            return None
        others = (self.sections[other] for other in section.also if other in self.sections)
        found = (one.find(name) for one in (section, *others))
        return next((price for price in found if price is not None), None)

    def adopted(self, *, at_us: int, actor: str) -> PriceBookAdopted:
        """Put the book into the event that adopts it."""
        return PriceBookAdopted(
            at_us=at_us,
            actor=actor,
            source=self.source,
            source_version=self.source_version,
            sha256=self.sha256,
            models=self.models,
            content=base64.b64encode(zlib.compress(self.content)).decode(),
        )


def price_for(book: PriceBook, kind: str, base_url: str | None, model: str, at_us: int) -> Price | None:
    """Return what a model costs at a provider at an instant; None where the book does not know."""
    found = book.find(kind, base_url, model)
    return None if found is None else price_for_entry(found, at_us, book.sha256)


def price_for_entry(found: ModelPrice, at_us: int, book: str) -> Price | None:
    """Return the price of an entry at an instant; None where it names the model without a price."""
    period = found.at(at_us)
    if period.prices.input is None or period.prices.output is None:
        return None
    return Price(prices=period.prices, tiers=period.tiers, source=BOOK, book=book)


def book_of(adopted: PriceBookAdopted) -> PriceBook | None:
    """Take a book out of its event; None if it is damaged, for then no price may be believed."""
    return _unpacked(adopted.source, adopted.source_version, adopted.content, adopted.sha256)


def differences(old: PriceBook | None, new: PriceBook, at_us: int) -> Iterator[Difference]:
    """Compare two books, model by model, in the order of their providers' and models' names."""
    before = {} if old is None else _by_place(old)
    after = _by_place(new)
    for place in sorted({*before, *after}):
        was, will_be = before.get(place), after.get(place)
        if was != will_be:
            yield _difference(place, was, will_be, at_us)


def _difference(
    place: tuple[str, str, int], was: ModelPrice | None, will_be: ModelPrice | None, at_us: int
) -> Difference:
    before = None if was is None else was.at(at_us).prices
    after = None if will_be is None else will_be.at(at_us).prices
    if was is None:
        change = "added"
    elif will_be is None:
        change = "removed"
    else:
        change = "otherwise" if before == after else "changed"
    return Difference(place[0], place[1], change, before, after)


def _by_place(book: PriceBook) -> dict[tuple[str, str, int], ModelPrice]:
    """Index the entries; where a provider has two of one name, they are told apart by their order."""
    entries: dict[tuple[str, str, int], ModelPrice] = {}
    for section in book.sections.values():
        for entry in section.models:
            again = 0
            while (section.provider, entry.model, again) in entries:
                again += 1
            entries[section.provider, entry.model, again] = entry
    return entries


@lru_cache(maxsize=BOOKS_KEPT)
def _unpacked(source: str, source_version: str, content: str, digest: str) -> PriceBook | None:
    """Inflate and check a book, once a process: every fold of the log comes by here."""
    try:
        inflate = zlib.decompressobj()
        raw = inflate.decompress(base64.b64decode(content, validate=True), MOST_BOOK_BYTES)
        sections = msgspec.json.decode(raw, type=tuple[Section, ...])
    except (ValueError, binascii.Error, zlib.error, msgspec.MsgspecError):
        return None
    if not inflate.eof or sha256(raw).hexdigest() != digest:
        return None
    return PriceBook(source, source_version, sections)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)

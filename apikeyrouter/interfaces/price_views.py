"""Prices as users see them: nano-USD per million, who said so, and how two books differ."""

from collections import Counter
from typing import Any

import msgspec

from apikeyrouter.application.price_books import Comparison
from apikeyrouter.domain.catalogue_folds import Provider
from apikeyrouter.domain.events import Prices
from apikeyrouter.domain.price_book import Difference, PriceBook, price_for_entry
from apikeyrouter.domain.pricing import Price
from apikeyrouter.domain.state import RouterState


def book_view(book: PriceBook | None) -> dict[str, Any] | None:
    """Name a book."""
    if book is None:
        return None
    return {
        "source": book.source,
        "version": book.source_version,
        "sha256": book.sha256,
        "models": book.models,
        "providers": len(book.sections),
    }


def summary_view(state: RouterState) -> dict[str, Any]:
    """Tell which book is in force and since which event, and which prices administrators set above it."""
    ref = state.price_book_ref
    return {
        "book": book_view(state.price_book),
        "adopted_by": None if ref is None else list(msgspec.to_builtins(ref)),
        "set": [
            {"provider_id": provider_id, "model": model, "prices": _prices(prices)}
            for provider_id, by_model in state.set_prices.items()
            for model, prices in by_model.items()
        ],
    }


def model_prices(state: RouterState, model: str, at_us: int) -> list[dict[str, Any]]:
    """Tell what a model costs at every registered provider that may serve it, and at whom in the book."""
    rows = [
        _row(provider.provider_id, model, provider.models.get(model).price_at(at_us), registered=True)
        for provider in state.providers.values()
        if _may_serve(provider, model)
    ]
    book = state.price_book
    for section in () if book is None else book.sections.values():
        entry = section.find(model.lower())
        if entry is not None and book is not None:
            price = price_for_entry(entry, at_us, book.sha256)
            rows.append(_row(section.provider, entry.model, price, registered=False))
    return rows


def comparison_view(compared: Comparison, state: RouterState) -> dict[str, Any]:
    """Tell how the installed book differs from the one in force; what concerns registered providers first."""
    used = used_sections(state, compared.packaged)
    shown = sorted(compared.differences, key=lambda one: one.provider not in used)
    return {
        "in_force": book_view(compared.in_force),
        "installed": book_view(compared.packaged),
        "same": compared.in_force is not None and compared.in_force.sha256 == compared.packaged.sha256,
        "counts": dict(Counter(one.change for one in compared.differences)),
        "differences": [_difference(one, in_use=one.provider in used) for one in shown],
    }


def used_sections(state: RouterState, book: PriceBook) -> set[str]:
    """Name the parts of a book that registered providers take their prices from."""
    places = {(provider.kind, provider.base_url) for provider in state.providers.values()}
    sections = [section for place in places if (section := book.section_for(*place)) is not None]
    return {name for section in sections for name in (section.provider, *section.also)}


def _may_serve(provider: Provider, model: str) -> bool:
    return not provider.models or model in provider.models


def _row(provider: str, model: str, price: Price | None, *, registered: bool) -> dict[str, Any]:
    return {
        "provider": provider,
        "registered": registered,
        "model": model,
        "source": None if price is None else price.source,
        "prices": None if price is None else _prices(price.prices),
        "tiers": [] if price is None else msgspec.to_builtins(price.tiers),
    }


def _difference(difference: Difference, *, in_use: bool) -> dict[str, Any]:
    return {
        "provider": difference.provider,
        "model": difference.model,
        "in_use": in_use,
        "change": difference.change,
        "before": _prices(difference.before),
        "after": _prices(difference.after),
    }


def _prices(prices: Prices | None) -> dict[str, int] | None:
    """Show prices in nano-USD per million, without those that are not known."""
    return None if prices is None else msgspec.to_builtins(prices)

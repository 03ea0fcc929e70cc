"""Prices, as the library asks for them and sets them."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from apikeyrouter.bootstrap import Node
from apikeyrouter.domain.offers import parse_prices
from apikeyrouter.interfaces.price_views import book_view, comparison_view, model_prices, summary_view

ACTOR = "library"


class PriceQueries:
    """The prices in force; amounts that come out are nano-USD per million, those that go in US dollars."""

    def __init__(self, open_node: Callable[[], Awaitable[Node]]) -> None:
        self._open_node = open_node

    async def summary(self) -> dict[str, Any]:
        """Tell which book is in force, and which prices are set above it."""
        return summary_view((await self._open_node()).state)

    async def of(self, model: str) -> list[dict[str, Any]]:
        """Tell what a model costs at every provider that may be asked for it, and at whom in the book."""
        node = await self._open_node()
        return model_prices(node.state, model, node.clock.now_us())

    async def differences(self) -> dict[str, Any]:
        """Compare the book of the installed package with the one in force."""
        node = await self._open_node()
        return comparison_view(await node.prices.compare(), node.state)

    async def adopt(self, sha256: str | None = None) -> dict[str, Any] | None:
        """Put the book of the installed package in force; with a hash only if it is that book."""
        node = await self._open_node()
        return book_view(await node.prices.adopt(sha256, actor=ACTOR))

    async def set(self, provider_id: str, model: str, prices: Mapping[str, Any] | None) -> None:
        """Set what a model costs at a provider: `input_usd_per_mtok`, …; None withdraws what was set."""
        node = await self._open_node()
        told = None if prices is None else parse_prices(prices)
        await node.prices.set_price(provider_id, model, told, actor=ACTOR)

"""Management of prices: the book in force, another one to adopt, and prices of one's own."""

from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from apikeyrouter.domain.offers import parse_prices
from apikeyrouter.interfaces.http.node_access import Actor, NodeDependency
from apikeyrouter.interfaces.price_views import book_view, comparison_view, model_prices, summary_view

router = APIRouter(tags=["prices"])


class Adoption(BaseModel):
    """The book to adopt: the installed one, and with a hash only if it is the one that was looked at."""

    model_config = ConfigDict(extra="forbid")

    sha256: str | None = None


class NewPrice(BaseModel):
    """What a model costs at a provider, in US dollars per million tokens; null withdraws what was set."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "provider_id": "openai",
                    "model": "gpt-4o",
                    "prices": {"input_usd_per_mtok": "2.25", "output_usd_per_mtok": "9"},
                }
            ]
        },
    )

    provider_id: str
    model: str
    prices: dict[str, Decimal] | None


@router.get("/prices")
async def prices(
    node: NodeDependency, model: Annotated[str | None, Query(description="Tell its prices as well.")] = None
) -> dict[str, Any]:
    """Tell which book is in force, and what is set above it; amounts are nano-USD per million."""
    told = summary_view(node.state)
    if model is not None:
        told["model_prices"] = model_prices(node.state, model, node.clock.now_us())
    return told


@router.get("/prices/diff")
async def difference(node: NodeDependency) -> dict[str, Any]:
    """Compare the book of the installed package with the one in force."""
    return comparison_view(await node.prices.compare(), node.state)


@router.post("/prices/adopt")
async def adopt(asked: Adoption, node: NodeDependency, actor: Actor) -> dict[str, Any]:
    """Put the book of the installed package in force from now on; what was charged before stays."""
    return {"book": book_view(await node.prices.adopt(asked.sha256, actor=actor))}


@router.post("/prices")
async def set_price(new: NewPrice, node: NodeDependency, actor: Actor) -> dict[str, Any]:
    """Set what a model costs at a provider, above the provider's list and the book."""
    told = None if new.prices is None else parse_prices(new.prices)
    await node.prices.set_price(new.provider_id, new.model, told, actor=actor)
    return {"model_prices": model_prices(node.state, new.model, node.clock.now_us())}

"""This project as a library: the limits of the keys declared as metadata, everything else as it comes.

The attempts are those that all have; where the router can wait for capacity, it may for `queue_timeout_s`.
Each tier of prices is a provider of its own at the same address, offering the same model.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from apikeyrouter import ApiKeyRouter, RouterSettings
from apikeyrouter.domain.offers import parse_offers
from apikeyrouter.infrastructure.adapters.openai_adapter import OpenAIAdapter
from benchmarks.routers.plan import Plan, Tier
from benchmarks.routers.player import Ask, Call


@asynccontextmanager
async def open_router(plan: Plan, _name: str) -> AsyncIterator[Call]:
    """Open a router over the keys of the plan; its log is in memory."""
    async with ApiKeyRouter(config=settings_for(plan)) as router:
        for tier in {key.tier for key in plan.keys}:
            await router.register_provider(tier.name, _adapter(plan, tier))
        for key in plan.keys:
            await router.register_key(key.material, key.tier.name, {"rpm": key.rpm, "tpm": key.tpm})

        async def call(ask: Ask) -> object:
            parameters = {"max_tokens": ask.output_tokens}
            intent = {"model": plan.model, "messages": ask.messages, "parameters": parameters}
            return await router.route(intent)

        yield call


def settings_for(plan: Plan) -> RouterSettings:
    """Return the settings; waiting for capacity is switched on where this version has it."""
    settings: dict[str, Any] = {"max_attempts": plan.attempts, "request_timeout_s": plan.timeout_s}
    if "queue_timeout_s" in RouterSettings.model_fields:
        settings["queue_timeout_s"] = plan.queue_timeout_s
    return RouterSettings(**settings)


def _adapter(plan: Plan, tier: Tier) -> OpenAIAdapter:
    offer = {
        "model": plan.model,
        "input_usd_per_mtok": tier.input_usd_per_mtok,
        "output_usd_per_mtok": tier.output_usd_per_mtok,
    }
    return OpenAIAdapter(base_url=plan.base_url, models=parse_offers([offer]))

"""LiteLLM's `Router` over the same keys, run by the interpreter of its own virtual environment.

Settings, so that the comparison is fair:

- every deployment is told `rpm`, `tpm` and its price (`input_cost_per_token`, `output_cost_per_token`), the
  same numbers that the provider enforces and the other routers know;
- `num_retries` is the attempts of the plan less the first, `timeout` that of the plan; the retries of the
  client underneath are off, as the Router sets them itself;
- `cooldown_time` (5 s), `allowed_fails` (unset) and the arguments of the strategies keep their defaults: they
  are what its users run with, and a longer cooldown takes more of the capacity away at this load. So a 429 or
  401 sends a deployment to its cooldown at once, other failures do when they are more than half in a minute;
- the log, callbacks and telemetry are quiet; the map of prices is the one that came with the package.
"""

import importlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.routers.plan import Plan, PlannedKey
from benchmarks.routers.player import Ask, Call

STRATEGIES = {
    "litellm-simple-shuffle": "simple-shuffle",
    "litellm-usage-v2": "usage-based-routing-v2",
    "litellm-latency": "latency-based-routing",
}


@asynccontextmanager
async def open_router(plan: Plan, name: str) -> AsyncIterator[Call]:
    """Open a Router with one of its strategies."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    litellm: Any = importlib.import_module("litellm")
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    router = litellm.Router(
        model_list=[_deployment(plan, key) for key in plan.keys],
        routing_strategy=STRATEGIES[name],
        num_retries=plan.attempts - 1,
        timeout=plan.timeout_s,
    )

    async def call(ask: Ask) -> object:
        answer: object = await router.acompletion(
            model=plan.model, messages=ask.messages, max_tokens=ask.output_tokens
        )
        return answer

    yield call


def _deployment(plan: Plan, key: PlannedKey) -> dict[str, Any]:
    return {
        "model_name": plan.model,
        "litellm_params": {
            "model": f"openai/{plan.model}",
            "api_base": plan.base_url,
            "api_key": key.material,
            "rpm": key.rpm,
            "tpm": key.tpm,
            "input_cost_per_token": key.tier.input_usd_per_mtok / 1e6,
            "output_cost_per_token": key.tier.output_usd_per_mtok / 1e6,
        },
        "model_info": {"id": key.name},
    }

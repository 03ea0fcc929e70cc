"""The gateways whose budgets are compared, each told the same keys, prices and limits in its own way."""

import asyncio
import json
import shutil
from collections.abc import Callable
from decimal import Decimal
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from apikeyrouter import ApiKeyRouter, RouterSettings
from apikeyrouter.domain.events import ModelOffer
from apikeyrouter.infrastructure.adapters.openai_adapter import OpenAIAdapter
from benchmarks import peers
from benchmarks.apikeyrouter_setup import serve_command, serve_environment
from benchmarks.budgets.plan import CLIENTS, KEYS, Ask, Key, Load
from benchmarks.gateways import Place
from benchmarks.processes import Child
from benchmarks.wire import MODEL

NANO = 1_000_000_000
AUTH = Path(__file__).with_name("litellm_auth.py")


class Contender(NamedTuple):
    """A gateway: how it is started, how a client tells who it is, and where it takes part.

    `bound` is by what it knows how much a request may cost: LiteLLM counts tokens by its copy of tiktoken.
    """

    name: str
    told: str
    start: Callable[[Load, Place], Child]
    headers: Callable[[Ask], dict[str, str]]
    version: Callable[[], str]
    bound: Callable[[Ask, Key], int]
    scenarios: tuple[str, ...] = ("callers", "deployments")


def _ours(load: Load, place: Place) -> Child:
    database = place.folder / "router.db"
    asyncio.run(_prepare(load, database, place.upstream_url))
    command, env = serve_command(place.port, database), serve_environment("strict", "FULL")
    return Child(command, core=place.core, log=place.folder / "log.txt", env=env)


async def _prepare(load: Load, database: Path, upstream_url: str) -> None:
    async with ApiKeyRouter(config=RouterSettings(database_url=str(database))) as router:
        ids: dict[str | None, str] = {}
        for key in KEYS:
            if key.provider not in {each.provider for each in KEYS[: KEYS.index(key)]}:
                adapter = OpenAIAdapter(base_url=f"{upstream_url}/v1", models=(_offer(key),))
                await router.register_provider(key.provider, adapter)
            ids[key.name] = (await router.register_key(key.material, key.provider)).id
        for budget in load.budgets:
            limit = Decimal(budget.limit) / NANO
            scope_id = ids.get(budget.name, budget.name)
            await router.cost_controller.create_budget(budget.scope, limit, "total", "hard", scope_id)


def _offer(key: Key) -> ModelOffer:
    return ModelOffer(
        model=MODEL,
        input_nano_usd_per_mtok=key.input_price,
        output_nano_usd_per_mtok=key.output_price,
    )


def _litellm(**general: bool) -> Callable[[Load, Place], Child]:
    def start_it(load: Load, place: Place) -> Child:
        home = peers.environment("litellm", "litellm[proxy]")
        config, clients = place.folder / "config.yaml", place.folder / "clients.json"
        # YAML is a superset of JSON.
        config.write_text(json.dumps(_litellm_config(load, place.upstream_url, general)))
        clients.write_text(json.dumps({f"sk-{name}": _caller(load, name) for name in CLIENTS}))
        shutil.copy(AUTH, place.folder / AUTH.name)
        command = [str(home / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1"]
        env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "BENCH_CLIENTS": str(clients), "LITELLM_LOG": "ERROR"}
        return Child(
            [*command, "--port", str(place.port), "--num_workers", "1"],
            core=place.core,
            log=place.folder / "log.txt",
            env=env,
        )

    return start_it


def _litellm_config(load: Load, upstream_url: str, general: dict[str, bool]) -> dict[str, Any]:
    everything = load.limit_of("global", None)
    provider = {"openai": {"budget_limit": (everything or 0) / NANO, "time_period": "30d"}}
    return {
        "model_list": [_deployment(load, key, upstream_url) for key in KEYS],
        "litellm_settings": {"telemetry": False, "enable_post_custom_auth_checks": True},
        "router_settings": {"provider_budget_config": provider} if everything else {},
        "general_settings": {
            "master_key": "sk-bench-master",
            "custom_auth": f"{AUTH.stem}.user_api_key_auth",
            "custom_auth_run_common_checks": True,
            **general,
        },
    }


def _deployment(load: Load, key: Key, upstream_url: str) -> dict[str, Any]:
    limit = load.limit_of("key", key.name)
    params = {
        "model": f"openai/{MODEL}",
        "api_base": f"{upstream_url}/v1",
        "api_key": key.material,
        "input_cost_per_token": key.input_price / NANO / 1e6,
        "output_cost_per_token": key.output_price / NANO / 1e6,
    }
    params |= {"max_budget": limit / NANO, "budget_duration": "30d"} if limit else {}
    return {"model_name": MODEL, "litellm_params": params, "model_info": {"id": key.name}}


def _caller(load: Load, client: str) -> dict[str, Any]:
    team = Ask(0, client, 0, 0, stream=False).team
    told: dict[str, Any] = {"spend": 0.0, "team_id": team, "team_spend": 0.0}
    if limit := load.limit_of("client", client):
        told["max_budget"] = limit / NANO
    if limit := load.limit_of("team", team):
        told["team_max_budget"] = limit / NANO
    return told


def _our_headers(ask: Ask) -> dict[str, str]:
    return {"x-akr-client": ask.client, "x-akr-team": ask.team}


def _litellm_headers(ask: Ask) -> dict[str, str]:
    return {"authorization": f"Bearer sk-{ask.client}"}


def _our_version() -> str:
    return metadata.version("apikeyrouter-core")


def _litellm_version() -> str:
    return peers.version("litellm", "litellm")


CONTENDERS = (
    Contender(
        "apikeyrouter",
        "this project: strict, hard budgets",
        _ours,
        _our_headers,
        _our_version,
        Ask.bound_by_bytes,
    ),
    Contender(
        "litellm", "its proxy as it comes", _litellm(), _litellm_headers, _litellm_version, Ask.tightest_bound
    ),
    Contender(
        "litellm-strict",
        "the same with fail_closed_budget_enforcement",
        _litellm(fail_closed_budget_enforcement=True),
        _litellm_headers,
        _litellm_version,
        Ask.tightest_bound,
        ("callers",),
    ),
)

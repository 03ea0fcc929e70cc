"""The gateways under test, each with how it is set up and started before the same mock upstream."""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from benchmarks import peers
from benchmarks.apikeyrouter_setup import prepare, serve_command, serve_environment
from benchmarks.processes import Child, NotStartedError
from benchmarks.wire import MODEL, PROVIDER_KEY

TENSORZERO_SERVER = Path(peers.__file__).with_name("tensorzero_server.py")


class Place(NamedTuple):
    """Where a gateway is started: its upstream, its port, its core, a folder of its own."""

    upstream_url: str
    port: int
    core: int
    folder: Path


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """One gateway: how to start it, and how a client names the model to it."""

    name: str
    told: str
    start: Callable[[Place], Child]
    version: Callable[[], str]
    model: str = MODEL
    path: str = "/v1/chat/completions"
    tells_port: re.Pattern[str] | None = None
    """How to read the port from the output, for a gateway that chooses its own."""
    start_within_s: float = 20
    warm_up_s: float = 2
    open_loop_only: bool = False


def start(gateway: Gateway, place: Place) -> tuple[Child, int]:
    """Start a gateway; return it with its port once it listens, or raise `NotStartedError`."""
    place.folder.mkdir(parents=True, exist_ok=True)
    child = gateway.start(place)
    try:
        port = place.port
        if gateway.tells_port is not None:
            port = int(child.wait_for_word(gateway.tells_port, gateway.start_within_s))
        child.wait_for_port(port, gateway.start_within_s)
    except NotStartedError:
        child.stop()
        raise
    return child, port


def _passthrough(module: str) -> Callable[[Place], Child]:
    def start_it(place: Place) -> Child:
        command = [sys.executable, "-m", "uvicorn", f"benchmarks.passthrough.{module}:app"]
        flags = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
        env = {"BENCH_UPSTREAM_URL": place.upstream_url, "BENCH_PROVIDER_KEY": PROVIDER_KEY}
        return Child(
            [*command, *flags, "--port", str(place.port)],
            core=place.core,
            log=place.folder / "log.txt",
            env=env,
        )

    return start_it


def _apikeyrouter(durability: str, synchronous: str) -> Callable[[Place], Child]:
    def start_it(place: Place) -> Child:
        database = place.folder / "router.db"
        prepare(database, place.upstream_url)
        return Child(
            serve_command(place.port, database),
            core=place.core,
            log=place.folder / "log.txt",
            env=serve_environment(durability, synchronous),
        )

    return start_it


def _litellm(*flags: str) -> Callable[[Place], Child]:
    def start_it(place: Place) -> Child:
        home = peers.environment("litellm", "litellm[proxy]")
        config = place.folder / "config.yaml"
        config.write_text(
            f"model_list:\n  - model_name: {MODEL}\n    litellm_params:\n      model: openai/{MODEL}\n"
            f"      api_base: {place.upstream_url}/v1\n      api_key: {PROVIDER_KEY}\n"
            "litellm_settings:\n  telemetry: false\n"
        )
        command = [str(home / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1"]
        env = {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
        }
        return Child(
            [*command, "--port", str(place.port), "--num_workers", "1", *flags],
            core=place.core,
            log=place.folder / "log.txt",
            env=env,
        )

    return start_it


def _tensorzero(place: Place) -> Child:
    home = peers.environment("tensorzero", "tensorzero")
    config = place.folder / "tensorzero.toml"
    config.write_text(
        "[gateway]\nobservability.enabled = false\n"
        f'[models.bench]\nrouting = ["mock"]\n[models.bench.providers.mock]\ntype = "openai"\n'
        f'api_base = "{place.upstream_url}/v1/"\nmodel_name = "{MODEL}"\n'
        'api_key_location = "env::BENCH_KEY"\n'
    )
    command = [str(home / "bin" / "python"), str(TENSORZERO_SERVER), str(config)]
    env = {"BENCH_KEY": PROVIDER_KEY, "TENSORZERO_DISABLE_PSEUDONYMOUS_USAGE_ANALYTICS": "1"}
    return Child(command, core=place.core, log=place.folder / "log.txt", env=env)


def _ours() -> str:
    return metadata.version("apikeyrouter-core")


def _litellm_version() -> str:
    return peers.version("litellm", "litellm")


GATEWAYS = (
    Gateway(
        name="lean",
        told="plain ASGI, uvloop, httptools, aiohttp; no logic",
        start=_passthrough("lean"),
        version=lambda: f"uvicorn {metadata.version('uvicorn')}, aiohttp {metadata.version('aiohttp')}",
    ),
    Gateway(
        name="fastapi-httpx",
        told="FastAPI with one shared httpx client; no logic",
        start=_passthrough("tutorial"),
        version=lambda: f"fastapi {metadata.version('fastapi')}, httpx {metadata.version('httpx')}",
    ),
    Gateway(
        name="apikeyrouter",
        told="strict, synchronous=FULL: two durable commits a request",
        start=_apikeyrouter("strict", "FULL"),
        version=_ours,
    ),
    Gateway(
        name="apikeyrouter-before-dispatch",
        told="before_dispatch, synchronous=FULL: one commit awaited",
        start=_apikeyrouter("before_dispatch", "FULL"),
        version=_ours,
        open_loop_only=True,
    ),
    Gateway(
        name="tensorzero",
        told="Rust, from its wheel; observability off",
        start=_tensorzero,
        version=lambda: peers.version("tensorzero", "tensorzero"),
        model="tensorzero::model_name::bench",
        path="/openai/v1/chat/completions",
        tells_port=re.compile(r"^http://[\d.]+:(\d+)", re.MULTILINE),
    ),
    Gateway(
        name="litellm",
        told="its proxy on its default server, one worker, no database",
        start=_litellm(),
        version=_litellm_version,
        start_within_s=90,
        warm_up_s=5,
    ),
    Gateway(
        name="litellm-granian",
        told="the same on granian",
        start=_litellm("--run_granian"),
        version=_litellm_version,
        start_within_s=90,
        warm_up_s=5,
    ),
)

"""The routers that are compared, and the interpreter that runs each."""

import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from benchmarks import peers


class Router(NamedTuple):
    """One router: what it is, which Python runs it, which version it has."""

    name: str
    told: str
    python: Callable[[], Path]
    version: Callable[[], str]


def _own_python() -> Path:
    return Path(sys.executable)


def _litellm_python() -> Path:
    return peers.environment("litellm", "litellm[proxy]") / "bin" / "python"


def _ours() -> str:
    return metadata.version("apikeyrouter-core")


def _httpx() -> str:
    return f"httpx {metadata.version('httpx')}"


def _litellm() -> str:
    return peers.version("litellm", "litellm")


BASE = "litellm-simple-shuffle"
ROUTERS = (
    Router("apikeyrouter", "this project as a library, limits as metadata", _own_python, _ours),
    Router("round-robin", "httpx, one key after the other", _own_python, _httpx),
    Router("least-used", "httpx, the key with the fewest tokens in the last minute", _own_python, _httpx),
    Router(BASE, "LiteLLM's Router, simple-shuffle (weighs by rpm)", _litellm_python, _litellm),
    Router("litellm-usage-v2", "the same, usage-based-routing-v2", _litellm_python, _litellm),
    Router("litellm-latency", "the same, latency-based-routing", _litellm_python, _litellm),
)


def chosen(names: tuple[str, ...]) -> list[Router]:
    """Return the routers of these names, all where none is given."""
    if unknown := set(names) - {router.name for router in ROUTERS}:
        known = ", ".join(router.name for router in ROUTERS)
        raise ValueError(f"no router is called {', '.join(sorted(unknown))}; there are {known}")
    return [router for router in ROUTERS if not names or router.name in names]

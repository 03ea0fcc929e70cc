"""ApiKeyRouter as the benchmarks use it: a database with one provider and one key, and the server."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.processes import NotStartedError
from benchmarks.wire import PROVIDER_KEY

if TYPE_CHECKING:
    from apikeyrouter import ApiKeyRouter


@asynccontextmanager
async def open_router(database: Path | None, upstream_url: str) -> "AsyncIterator[ApiKeyRouter]":
    """Open a router over the mock upstream with one key; without a database its log is in memory."""
    from apikeyrouter import ApiKeyRouter, RouterSettings
    from apikeyrouter.infrastructure.adapters.openai_adapter import OpenAIAdapter

    settings = RouterSettings(database_url=None if database is None else str(database))
    async with ApiKeyRouter(config=settings) as router:
        await router.register_provider("openai", OpenAIAdapter(base_url=f"{upstream_url}/v1"))
        await router.register_key(PROVIDER_KEY, "openai")
        yield router


def prepare(database: Path, upstream_url: str) -> None:
    """Write a database that a gateway can serve: the mock upstream and a key of it."""

    async def write() -> None:
        async with open_router(database, upstream_url):
            pass

    try:
        asyncio.run(write())
    except ImportError as error:
        raise NotStartedError(f"the library is not complete: {error}") from error


def serve_command(port: int, database: Path) -> list[str]:
    """Return the command that serves a prepared database."""
    program = Path(sys.executable).with_name("apikeyrouter")
    if not os.access(program, os.X_OK):
        raise NotStartedError(f"{program} is not installed: pip install -e .")
    return [str(program), "serve", "--host", "127.0.0.1", "--port", str(port), "--database", str(database)]


def serve_environment(durability: str, synchronous: str) -> dict[str, str]:
    """Return the settings that the suites vary."""
    return {"APIKEYROUTER_DURABILITY": durability, "APIKEYROUTER_SYNCHRONOUS": synchronous}

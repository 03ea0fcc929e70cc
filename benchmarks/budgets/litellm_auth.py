"""LiteLLM's custom authentication, run by its proxy: budgets of a client and its team, without a database.

A virtual key with `max_budget` needs a database; what the proxy then does with it, it also does with the
same fields of what this returns. The spend is counted in the proxy's own counters.
"""

import importlib
import json
import os
from pathlib import Path
from typing import Any


async def user_api_key_auth(request: object, api_key: str) -> object:
    """Return who this is, and what the client and its team may spend."""
    del request
    types: Any = importlib.import_module("litellm.proxy._types")
    return types.UserAPIKeyAuth(api_key=api_key, token=api_key, **CLIENTS[api_key])


CLIENTS: dict[str, dict[str, object]] = json.loads(Path(os.environ["BENCH_CLIENTS"]).read_text())

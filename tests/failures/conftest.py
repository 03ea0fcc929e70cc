"""Fixtures of the failure tests: a server that answers as told, an adapter that asks it, and its failures."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent / "providers"))

from raw_server import KEY, answering, serving

from apikeyrouter.adapters.providers.openai import OpenAIAdapter
from apikeyrouter.adapters.providers.transport import Deadlines
from apikeyrouter.domain.failures import AttemptFailedError
from apikeyrouter.domain.interfaces.provider_adapter import UpstreamCall

_HASTY = Deadlines(connect_s=2, first_byte_s=0.3, idle_s=0.3, total_s=4)


@pytest.fixture
def call():
    """Make a call, with any field replaced."""

    def build(**changes):
        fields = {
            "operation": "chat",
            "model": "gpt-4o",
            "body": b'{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}',
            "key_material": KEY,
            "deadline_us": 5_000_000,
        }
        return UpstreamCall(**(fields | changes))

    return build


@pytest.fixture
async def adapter_for():
    """Start a server that always gives one answer, and an adapter that talks to it."""
    stack = []

    async def start(answer, **options):
        server = await serving(answering(answer))
        adapter = OpenAIAdapter(server.url + "/v1", deadlines=_HASTY, **options)
        stack.extend((adapter, server))
        return adapter

    yield start
    for resource in stack:
        await resource.close()


@pytest.fixture
def failed():
    """Make an attempt that must fail, and return how."""

    async def attempt(attempted):
        with pytest.raises(AttemptFailedError) as caught:
            await attempted
        return caught.value.failure

    return attempt

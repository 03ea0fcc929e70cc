"""State now and then, and replays, over the management API."""

from collections.abc import AsyncIterator

import pytest
from loopback import RUN_KEY, running_proxy, scripted

from apikeyrouter.interfaces.scripted_provider import ScriptedProvider


@pytest.fixture
async def api() -> AsyncIterator:
    async with ScriptedProvider(scripted("a", "b")) as provider, running_proxy() as proxy:
        await proxy.provide(provider, "a", "b", rpm=50)
        answers = [await proxy.ask() for _ in range(6)]

        async def get(path: str, status: int = 200, key: str | None = RUN_KEY, **query):
            headers = {} if key is None else {"x-api-key": key}
            answer = await proxy.client.get(f"/api/v1{path}", headers=headers, params=query)
            assert answer.status_code == status, answer.text
            return answer.json()

        get.request_id = answers[-1].headers["x-request-id"]
        get.position = proxy.node.state.position
        yield get


async def test_the_state_as_it_is_and_was(api):
    """A summary; any part of it; and the same at a position of the past."""
    assert (await api("/state"))["keys"] == {"available": 2}
    now, then = await api("/state", scope="keys"), await api("/state", scope="keys", at="5")
    assert now["position"] == api.position
    assert then["position"] == 5
    assert len(then["keys"]) <= len(now["keys"]) == 2


async def test_candidates_now_and_then(api):
    """Who would be chosen; asking records nothing."""
    for query in ({}, {"at": str(api.position)}):
        told = await api("/state", scope="candidates", model="gpt-4", objective="cost", **query)
        assert told["candidates"]["chosen"]
    assert (await api("/state"))["position"] == api.position


async def test_decisions_and_requests_are_made_again(api):
    """Byte for byte, over HTTP too."""
    assert (await api("/replay/verify", **{"from": 1}))["identical"]
    told = await api(f"/replay/requests/{api.request_id}")
    assert told["again"]["identical"], told["again"]


async def test_what_cannot_be_asked_is_refused(api):
    """Unknown words, times and requests, and strangers."""
    await api("/state", 400, scope="nonsense")
    await api("/state", 400, at="soon")
    await api("/state", 400, scope="candidates")
    await api("/replay/requests/none", 404)
    await api("/state", 401, key=None)

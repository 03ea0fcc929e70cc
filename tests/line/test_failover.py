"""What clients see when keys fail: nothing, as long as one key works."""

import asyncio

import pytest
from loopback import MODEL, material_of, running_proxy, scripted

from apikeyrouter.domain.events import AttemptFailed, ClockSteppedBack, RequestCompleted, RouteDecided
from apikeyrouter.domain.models.api_key import KeyState
from apikeyrouter.interfaces.scripted_provider import Fault, FaultKind, KeyScript, ScriptedProvider


def failing(status: int, **details) -> KeyScript:
    return KeyScript(faults=(Fault(kind=FaultKind.Status, status=status, **details),))


def calls(provider: ScriptedProvider, name: str) -> int:
    tally = provider.ledger().keys.get(name)
    return 0 if tally is None else tally.calls


@pytest.mark.parametrize("count", [2, 3, 10, 100])
async def test_a_dead_key_costs_at_most_one_attempt(count):
    """A key that answers 401 is called once, by no matter how many requests, and no client notices."""
    healthy = [f"k{number}" for number in range(count - 1)]
    async with ScriptedProvider(scripted(*healthy, dead=failing(401))) as provider, running_proxy() as proxy:
        await proxy.provide(provider, "dead", *healthy)
        for _ in range(2 * count):
            assert (await proxy.ask()).status_code == 200
        answers = await asyncio.gather(*(proxy.ask() for _ in range(30)))
        assert {answer.status_code for answer in answers} == {200}
        assert calls(provider, "dead") == 1
        state = proxy.node.state.keys[proxy.key_ids["dead"]]
        assert state.state is KeyState.Invalid


async def test_a_rejected_key_serves_again_after_rotation():
    """Rotation heals: the same id, new material, available at once."""
    async with (
        ScriptedProvider(scripted("good", dead=failing(401))) as provider,
        running_proxy() as proxy,
    ):
        await proxy.provide(provider, "dead")
        assert (await proxy.ask()).status_code == 502
        key = await proxy.node.manage.rotate_key(proxy.key_ids["dead"], material_of("good"), actor="test")
        assert key.state is KeyState.Available
        answer = await proxy.ask()
        assert answer.status_code == 200
        assert answer.headers["x-akr-key-id"] == proxy.key_ids["dead"]


async def test_a_bad_request_burns_no_other_key():
    """400 is the request's own fault: one call, no failover, no key harmed, the provider's words."""
    async with (
        ScriptedProvider(scripted(a=failing(400), b=failing(400))) as provider,
        running_proxy() as proxy,
    ):
        await proxy.provide(provider, "a", "b")
        answer = await proxy.ask()
        assert answer.status_code == 400
        assert answer.json()["error"]["type"] == "invalid_request_error"
        assert calls(provider, "a") + calls(provider, "b") == 1
        assert {key.state for key in proxy.node.state.keys.values()} == {KeyState.Available}


async def test_a_throttled_key_is_not_called_before_its_time():
    """After a 429 with Retry-After the key rests; requests go elsewhere, and it is used again after."""
    limited = failing(429, retry_after=1, first=1)
    async with ScriptedProvider(scripted("b", a=limited)) as provider, running_proxy() as proxy:
        await proxy.provide(provider, "a", "b")
        while calls(provider, "a") == 0:
            assert (await proxy.ask()).status_code == 200
        until_us = proxy.node.state.keys[proxy.key_ids["a"]].until_us
        while proxy.node.clock.now_us() < until_us - 50_000:
            assert (await proxy.ask()).status_code == 200
            if proxy.node.clock.now_us() < until_us:
                assert calls(provider, "a") == 1
        async with asyncio.timeout(10):
            while calls(provider, "a") == 1:
                assert (await proxy.ask()).status_code == 200


async def test_when_all_keys_rest_the_client_hears_when_to_come_back():
    """With every key throttled the answer is 429 with a Retry-After, and nothing is called."""
    async with (
        ScriptedProvider(scripted(a=failing(429, retry_after=30))) as provider,
        running_proxy() as proxy,
    ):
        await proxy.provide(provider, "a")
        assert (await proxy.ask()).status_code == 429
        answer = await proxy.ask()
        assert answer.status_code == 429
        assert 25 <= int(answer.headers["retry-after"]) <= 30
        assert calls(provider, "a") == 1


@pytest.mark.parametrize(
    "kind",
    [
        FaultKind.Html,
        FaultKind.Empty,
        FaultKind.TruncatedJson,
        FaultKind.CutBeforeHeaders,
        FaultKind.CutMidBody,
    ],
)
async def test_garbage_from_one_key_is_answered_by_another(kind):
    """HTML, nothing, half an answer or a cut connection: the next key serves, and the log tells."""
    broken = KeyScript(faults=(Fault(kind=kind),))
    async with ScriptedProvider(scripted("good", bad=broken)) as provider, running_proxy() as proxy:
        await proxy.provide(provider, "bad", "good")
        async with asyncio.timeout(10):
            while calls(provider, "bad") == 0:
                answer = await proxy.ask()
                assert answer.status_code == 200
        events = [e.event for e in proxy.node.reader.stream(f"request-{answer.headers['x-request-id']}")]
        assert [type(event) for event in events] == [
            RouteDecided,
            AttemptFailed,
            RouteDecided,
            RequestCompleted,
        ]
        assert answer.headers["x-akr-attempts"] == "2"


async def test_a_broken_stream_is_never_replayed_to_a_client_that_has_text():
    """After the first text a break becomes an error event, not a second answer."""
    cut = KeyScript(faults=(Fault(kind=FaultKind.CutMidStream),))
    async with ScriptedProvider(scripted(a=cut, b=cut)) as provider, running_proxy() as proxy:
        await proxy.provide(provider, "a", "b")
        answer = await proxy.ask(stream=True)
        assert answer.status_code == 200
        last = [line for line in answer.text.splitlines() if line.startswith("data:")][-1]
        assert '"error"' in last
        assert "[DONE]" not in answer.text
        assert calls(provider, "a") + calls(provider, "b") == 1
        assert not proxy.node.state.open_requests
        events = [recorded.event for recorded in proxy.node.reader.read()]
        assert not any(isinstance(event, ClockSteppedBack) for event in events), (
            "its end is older than its failure"
        )


async def test_a_stream_that_fails_before_its_first_event_is_served_by_another_key():
    """Until text has reached the client, failover is free."""
    async with (
        ScriptedProvider(scripted("good", bad=failing(503))) as provider,
        running_proxy() as proxy,
    ):
        await proxy.provide(provider, "bad", "good")
        for _ in range(6):
            answer = await proxy.ask(stream=True)
            assert answer.text.rstrip().endswith("data: [DONE]")
        assert calls(provider, "bad") >= 1


async def test_a_burst_of_64_spreads_over_the_keys():
    """64 concurrent requests over four keys: each key has its share in flight, none has the herd."""
    names = ("a", "b", "c", "d")
    slow = {name: KeyScript(latency_ms=100) for name in names}
    async with ScriptedProvider(scripted(**slow)) as provider, running_proxy() as proxy:
        await proxy.provide(provider, *names)
        answers = await asyncio.gather(*(proxy.ask() for _ in range(64)))
        assert {answer.status_code for answer in answers} == {200}
        shares = [calls(provider, name) for name in names]
        assert max(shares) - min(shares) <= 2, shares


async def test_unknown_model_and_missing_keys_are_clear_errors():
    """Where nothing can serve, the error says what is missing, and still stands in the log."""
    async with running_proxy() as proxy:
        answer = await proxy.ask()
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "no_eligible_keys"
        assert proxy.node.state.position > 1
        assert MODEL in answer.json()["error"]["message"]

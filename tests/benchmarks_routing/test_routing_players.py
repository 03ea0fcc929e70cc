"""Routers are played against a scripted provider: what is due is sent, and every outcome is told."""

import asyncio
import time
from dataclasses import replace

import pytest

pytest.importorskip("benchmarks.routers.player", reason="the benchmarks are not beside this project")

from apikeyrouter.errors import NoEligibleKeysError
from apikeyrouter.interfaces.scripted_provider import Fault, FaultKind, KeyScript, Script, ScriptedProvider
from benchmarks.routers.catalogue import ROUTERS, chosen
from benchmarks.routers.litellm_router import STRATEGIES
from benchmarks.routers.plain import CHOICES, LeastUsed, RoundRobin
from benchmarks.routers.plan import Plan, PlannedKey, PlannedRequest, Tier
from benchmarks.routers.player import RefusedError, kind_of, opener_for, play

TIER = Tier(name="economy", input_usd_per_mtok=0.15, output_usd_per_mtok=0.6)
KEYS = tuple(PlannedKey(name=name, rpm=600, tpm=100_000, tier=TIER) for name in "abc")
PLAN = Plan(
    model="bench-chat",
    keys=KEYS,
    requests=tuple(PlannedRequest(0.01 * number, 12, 3) for number in range(6)),
    attempts=2,
    timeout_s=5,
    queue_timeout_s=1,
)
OURS_AND_PLAIN = ["apikeyrouter", *CHOICES]


def script(**faults: Fault) -> Script:
    told = {name: (fault,) for name, fault in faults.items()}
    return Script(
        keys={key.name: KeyScript(key=key.material, faults=told.get(key.name, ())) for key in KEYS},
        output_tokens=1000,
    )


async def played(name: str, provider: ScriptedProvider) -> list[dict]:
    plan = replace(PLAN, base_url=provider.base_url)
    async with opener_for(name)(plan, name) as call:
        return await play(plan, call, time.time())


class TestPlaying:
    @pytest.mark.parametrize("name", OURS_AND_PLAIN)
    async def test_every_request_is_answered_in_its_size(self, name):
        """Each request reaches the provider once, with the tokens of the plan."""
        async with ScriptedProvider(script()) as provider:
            outcomes = await played(name, provider)
            calls = provider.ledger().calls
        assert [one["failure"] for one in outcomes] == [None] * 6
        assert {(call.input_tokens, call.output_tokens) for call in calls} == {(12, 3)}
        assert len(calls) == 6

    @pytest.mark.parametrize("name", OURS_AND_PLAIN)
    async def test_another_key_serves_where_one_is_refused(self, name):
        """A key that answers 401 costs an attempt and no client anything."""
        dead = Fault(kind=FaultKind.Status, status=401)
        async with ScriptedProvider(script(a=dead)) as provider:
            outcomes = await played(name, provider)
            tally = provider.ledger().keys["a"]
        assert [one["failure"] for one in outcomes] == [None] * 6
        assert tally.by_status.get(200, 0) == 0

    @pytest.mark.parametrize("name", OURS_AND_PLAIN)
    async def test_failures_are_told_and_attempts_bounded(self, name):
        """Where every key fails, each outcome names it, and no request had more calls than allowed."""
        broken = Fault(kind=FaultKind.Status, status=500)
        async with ScriptedProvider(script(a=broken, b=broken, c=broken)) as provider:
            outcomes = await played(name, provider)
            calls = provider.ledger().calls
        assert all(one["failure"] for one in outcomes)
        assert len(calls) <= 6 * PLAN.attempts

    async def test_a_slow_answer_delays_nobody_else(self):
        """Requests are sent when they are due, whatever became of those before."""
        begun = []
        all_there = asyncio.Event()

        async def call(ask):
            begun.append(ask)
            if len(begun) == len(PLAN.requests):
                all_there.set()
            async with asyncio.timeout(5):
                await all_there.wait()

        outcomes = await play(PLAN, call, time.time())
        assert [one["failure"] for one in outcomes] == [None] * 6


class TestNamingFailures:
    def test_names_are_what_a_client_sees(self):
        """A failure is named by its status and code, or by its class where it has neither."""

        class UpstreamError(Exception):
            status_code = 429
            code = "429"

        assert kind_of(RefusedError("429 after 5 attempts")) == "429 after 5 attempts"
        assert kind_of(NoEligibleKeysError("none")) == "503 no_eligible_keys"
        assert kind_of(UpstreamError()) == "429 UpstreamError"
        assert kind_of(TimeoutError()) == "TimeoutError"


class TestChoosing:
    def test_round_robin_takes_turns(self):
        """One key follows the other, those that were tried left out."""
        choose = RoundRobin(KEYS)
        assert [choose((), 1).name for _ in range(4)] == ["a", "b", "c", "a"]
        assert choose(("b",), 1).name == "c"

    def test_least_used_counts_the_last_minute(self):
        """The key with the fewest tokens of the last minute is taken; what is older is forgotten."""
        now_s = 0.0
        choose = LeastUsed(KEYS, now_s=lambda: now_s)
        assert [choose((), tokens).name for tokens in (100, 10, 5)] == ["a", "b", "c"]
        assert choose((), 1).name == "c"
        assert choose(("c",), 1).name == "b"
        now_s = 60.0
        assert choose((), 1).name == "a"

    def test_every_router_can_be_found(self):
        """Each name of the catalogue belongs to one way of opening a router."""
        assert {router.name for router in ROUTERS} == {"apikeyrouter", *CHOICES, *STRATEGIES}
        assert [router.name for router in chosen(("round-robin",))] == ["round-robin"]
        with pytest.raises(ValueError, match="nobody; there are apikeyrouter"):
            chosen(("nobody",))

"""Sentences: what a decision, a wait and their consequences tell people."""

import msgspec
import pytest
from worlds import SECOND_US, START_US, World

from apikeyrouter.domain import explanation
from apikeyrouter.domain.deferral import behind_others, until_capacity
from apikeyrouter.domain.eligibility import KEY_STATES
from apikeyrouter.domain.events import (
    KeyPinned,
    KeyStateChanged,
    ProviderHealthChanged,
    QuotaCorrected,
    QuotaLimitLearned,
    RouteDecided,
    RouteRefused,
)
from apikeyrouter.domain.explanation import EXCLUDED, SPARED, consequence, explain
from apikeyrouter.domain.routing import decide


@pytest.fixture
def world():
    world = World()
    world.provider()
    return world


def decided(world: World) -> RouteDecided:
    decision = decide(world.state, world.question())
    assert isinstance(decision, RouteDecided)
    return decision


class TestQuotas:
    def test_room_and_reservation_are_told(self, world):
        """What is left of the tightest quota, the chance that it runs out, and what is held of each."""
        world.key("a", rpm=4, tpm=100_000)
        told = explain(decided(world))
        assert "It leaves 75% of its tightest quota" in told
        assert "with probability 0." in told
        assert "Reserved: 1 of key-a/requests/minute, 1,100 of key-a/tokens/minute." in told

    def test_the_room_told_does_not_depend_on_the_forecast(self, world):
        """The score mixes both; the sentence takes them apart again."""
        world.key("a", rpm=4)
        decision = decided(world)
        for exhaustion in (0.0, 0.5, 1.0):
            headroom = 0.75 * (1.0 - exhaustion * explanation.EXHAUSTION_WEIGHT)
            chosen = msgspec.structs.replace(decision.chosen, exhaustion=exhaustion, headroom=headroom)
            told = explain(msgspec.structs.replace(decision, chosen=chosen))
            assert "It leaves 75% of its tightest quota" in told
            assert f"with probability {exhaustion:.2f}" in told

    def test_without_limits_nothing_is_told_of_quotas(self, world):
        """No number is made up for a key of which no limit is known."""
        world.key("a")
        told = explain(decided(world))
        assert "quota" not in told
        assert "Reserved" not in told

    def test_a_refusal_names_the_rule_the_reason_and_the_return(self, world):
        """Who is refused learns which rule refused, in words, and when to come back."""
        world.key("a", rpm=1)
        world.append("request-1", decided(world))
        refused = decide(world.state, world.question())
        told = explain(refused)
        assert "1 by quota (not enough of its quota is left)" in told
        assert "A key is expected back in 60.0 s" in told


class TestSparing:
    def test_a_spared_key_is_told_apart_from_an_excluded_one(self, world):
        """A key that could have served is no key that could not."""
        for name in "abc":
            world.key(name)
        world.append("key-a", KeyPinned(at_us=world.now_us, actor="test", pinned=True))
        disabled = KeyStateChanged(
            at_us=world.now_us, actor="test", from_state="available", to_state="disabled", trigger="test"
        )
        world.append("key-c", disabled)
        told = explain(decided(world))
        assert "Spared for others: 1 by other_key_pinned (another key is pinned)." in told
        assert "Excluded: 1 by key_disabled (it is disabled)." in told

    def test_every_rule_has_words(self):
        """The rules of states and of sparing all have a sentence; constraints speak by their names."""
        assert {f"key_{state}" for state in KEY_STATES} - {"key_available"} <= EXCLUDED.keys()
        assert {"provider_down", "already_tried", "max_concurrency", "quota"} <= EXCLUDED.keys()
        assert "running_dry" in SPARED
        assert not EXCLUDED.keys() & SPARED.keys()

    def test_a_rule_without_words_is_named_all_the_same(self, world):
        """What a later version adds is not swallowed."""
        world.key("a")
        decision = msgspec.structs.replace(decided(world), excluded={"some_rule_to_come": 2})
        assert "Excluded: 2 by some_rule_to_come." in explain(decision)


class TestWaiting:
    def test_a_wait_tells_why_how_long_and_for_what(self, world):
        """A deferred request says which rule kept it back and when a key is expected."""
        world.key("a", rpm=1)
        world.append("request-1", decided(world))
        refused = decide(world.state, world.question())
        assert isinstance(refused, RouteRefused)
        told = explain(until_capacity(world.state, refused, 90 * SECOND_US))
        assert "no key was free" in told
        assert "waits, at most 90.0 s; a key is expected back in 60.0 s" in told
        assert "1 by quota" in told

    def test_a_place_in_the_queue(self, world):
        """Who stands behind others says so, and expects nothing."""
        told = explain(behind_others(world.question(), 5 * SECOND_US))
        assert "others wait already" in told
        assert "expected back" not in told


class TestConsequences:
    @pytest.mark.parametrize(
        ("source", "said"),
        [("learned_from_headers", "the headers of an answer"), ("learned_from_refusal", "as a guess")],
    )
    def test_a_learned_limit(self, source, said):
        """How a limit is known, whose it is, and of which models."""
        learned = QuotaLimitLearned(
            at_us=START_US,
            key_id="a",
            dimension="input_tokens",
            unit="minute",
            limit=30_000,
            models=("m",),
            source=source,
        )
        told = consequence(learned)
        assert said in told
        assert "key a is allowed 30,000 input tokens a minute of m" in told

    def test_others_on_the_same_account(self):
        """A correction says that somebody else draws on the account."""
        corrected = QuotaCorrected(at_us=START_US, account="key-a/requests/minute", remaining=3)
        assert "Somebody else uses key-a/requests/minute as well" in consequence(corrected)

    def test_health_and_state(self):
        """A provider that goes down, and a key that goes to rest, for how long."""
        until_us = START_US + 5 * SECOND_US
        down = ProviderHealthChanged(
            at_us=START_US,
            actor="router",
            provider_id="openai",
            from_health="healthy",
            to_health="down",
            trigger="repeated_failures",
            until_us=until_us,
        )
        assert consequence(down) == "Provider openai is down (repeated_failures) for 5.0 s."
        rests = KeyStateChanged(
            at_us=START_US,
            actor="router",
            from_state="available",
            to_state="throttled",
            trigger="rate_limited",
            until_us=until_us,
        )
        assert consequence(rests) == "The key is throttled (rate_limited) for 5.0 s."

    def test_other_events_have_no_sentence(self):
        """Nothing is said where nothing followed."""
        assert consequence(KeyPinned(at_us=START_US, actor="test", pinned=True)) is None

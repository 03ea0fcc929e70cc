"""The decision: who is chosen, who is excluded, and why."""

import pytest
from worlds import START_US, World, chosen

from apikeyrouter.domain.events import (
    AttemptFailed,
    EventRef,
    KeyStateChanged,
    ModelOffer,
    RequestCompleted,
    RouteDecided,
    RouteRefused,
    canonical_bytes,
)
from apikeyrouter.domain.explanation import explain
from apikeyrouter.domain.objectives import policy_of
from apikeyrouter.domain.routing import decide

USD = 1_000_000_000


def offer(model: str, usd: int, quality: float = 0.5) -> ModelOffer:
    return ModelOffer(
        model=model,
        input_nano_usd_per_mtok=usd * USD,
        output_nano_usd_per_mtok=usd * USD,
        quality=quality,
    )


def serve(world: World, name: str, decision: RouteDecided, first_byte_us: int = 1000) -> None:
    world.append(f"request-{name}", decision)
    world.append(
        f"request-{name}",
        RequestCompleted(
            at_us=world.now_us,
            attempt=1,
            key_id=decision.chosen.key_id,
            provider_id=decision.chosen.provider_id,
            model="m",
            input_tokens=1,
            output_tokens=1,
            usage_source="provider",
            elapsed_us=first_byte_us,
            first_byte_us=first_byte_us,
            response_bytes=1,
            response_sha256="0",
        ),
    )


def fail(world: World, name: str, decision: RouteDecided) -> None:
    world.append(f"request-{name}", decision)
    world.append(
        f"request-{name}",
        AttemptFailed(
            at_us=world.now_us,
            attempt=1,
            key_id=decision.chosen.key_id,
            provider_id=decision.chosen.provider_id,
            failure="server_error",
            effect="strike",
            elapsed_us=1,
        ),
    )


@pytest.fixture
def world() -> World:
    world = World()
    world.provider()
    for key_id in ("a", "b", "c"):
        world.key(key_id)
    return world


def test_a_burst_spreads_over_the_keys_instead_of_herding_on_one(world):
    """64 requests that are all in flight at once differ by at most one between equal keys."""
    counts = dict.fromkeys("abc", 0)
    for number in range(64):
        decision = decide(world.state, world.question(seed=number * 7919))
        counts[chosen(decision)] += 1
        world.append(f"request-{number}", decision)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_load_follows_declared_weights():
    """A key that declares three times the requests per minute carries three times the load."""
    world = World()
    world.provider()
    world.key("small", rpm=100)
    world.key("large", rpm=300)
    counts = {"small": 0, "large": 0}
    for number in range(80):
        decision = decide(world.state, world.question(seed=number))
        counts[chosen(decision)] += 1
        world.append(f"request-{number}", decision)
    assert 55 <= counts["large"] <= 65


def test_the_seed_decides_between_equals_and_nothing_else(world):
    """Three untouched keys are all reachable by some seed; the same seed gives the same bytes."""
    decisions = [decide(world.state, world.question(seed=seed)) for seed in range(12)]
    assert {chosen(decision) for decision in decisions} == {"a", "b", "c"}
    again = [decide(world.state, world.question(seed=seed)) for seed in range(12)]
    assert [canonical_bytes(d) for d in decisions] == [canonical_bytes(d) for d in again]


def test_a_key_that_just_failed_is_not_chosen_over_one_that_works(world):
    """Least-used rules send everything to the dead key, because it never carries load; this one does not."""
    failures = 0
    for number in range(300):
        world.now_us += 10_000
        decision = decide(world.state, world.question(seed=number))
        if chosen(decision) == "a":
            failures += 1
            fail(world, str(number), decision)
        else:
            serve(world, str(number), decision)
    assert failures <= 15


def test_a_tried_key_is_not_asked_again_for_the_same_request(world):
    """Failover never returns to a key that failed this very request."""
    decision = decide(world.state, world.question(tried=("a", "b")))
    assert chosen(decision) == "c"
    assert decision.excluded["already_tried"] == 2


def test_when_every_key_was_tried_the_refusal_says_so(world):
    """A refusal is a record too, with the count of keys by the rule that refused them."""
    refused = decide(world.state, world.question(tried=("a", "b", "c")))
    assert isinstance(refused, RouteRefused)
    assert refused.reason == "every_key_tried"
    assert refused.excluded == {"already_tried": 3}


def test_a_resting_key_is_excluded_with_the_event_that_sent_it_to_rest(world):
    """An exclusion names its rule and refers to the event behind it; a refusal tells when to come back."""
    until_us = world.now_us + 5_000_000
    for key_id in ("a", "b", "c"):
        world.append(
            f"key-{key_id}",
            KeyStateChanged(
                at_us=world.now_us,
                actor="router",
                from_state="available",
                to_state="throttled",
                trigger="rate_limited",
                until_us=until_us,
            ),
        )
    refused = decide(world.state, world.question())
    assert isinstance(refused, RouteRefused)
    assert refused.retry_at_us == until_us
    assert refused.excluded == {"key_throttled": 3}
    first = refused.exclusions[0]
    assert (first.key_id, first.evidence.stream, first.evidence.version) == ("a", "key-a", 2)
    assert "3 by key_throttled" in explain(refused)


def test_cost_chooses_the_cheapest_across_providers():
    """With the objective cost the cheapest provider of a model wins, whatever the load."""
    world = World()
    world.provider("dear", (offer("m", 10),))
    world.provider("cheap", (offer("m", 9),))
    world.key("d", "dear")
    world.key("c", "cheap")
    for number in range(50):
        decision = decide(world.state, world.question(policy=policy_of("cost"), seed=number))
        assert chosen(decision) == "c"
        serve(world, str(number), decision)


def test_quality_and_latency_choose_what_they_name():
    """Each objective prefers the key that is best by its own criterion."""
    world = World()
    world.provider("good", (offer("m", 10, quality=0.9),))
    world.provider("fast", (offer("m", 10, quality=0.1),))
    world.key("g", "good")
    world.key("f", "fast")
    for number in range(20):
        for provider_id, wait_us in (("good", 900_000), ("fast", 100_000)):
            decision = decide(world.state, world.question(provider_id=provider_id))
            serve(world, f"{provider_id}{number}", decision, wait_us)
    world.now_us += 120_000_000
    assert chosen(decide(world.state, world.question(policy=policy_of("quality")))) == "g"
    assert chosen(decide(world.state, world.question(policy=policy_of("latency")))) == "f"


@pytest.mark.parametrize(
    ("constraints", "survivor", "rule"),
    [
        ({"max_cost_per_request": "0.005"}, "c", "max_cost_nano_usd"),
        ({"min_quality": 0.5}, "d", "min_quality"),
        ({"providers": ["dear"]}, "d", "providers"),
        ({"excluded_providers": ["dear"]}, "c", "excluded_providers"),
    ],
)
def test_constraints_really_constrain(constraints, survivor, rule):
    """A constraint excludes whatever the weights would prefer, and names itself."""
    world = World()
    world.provider("dear", (offer("m", 10, quality=0.9),))
    world.provider("cheap", (offer("m", 1, quality=0.1),))
    world.key("d", "dear")
    world.key("c", "cheap")
    policy = policy_of({"primary": "fairness", "constraints": constraints})
    for seed in range(8):
        decision = decide(world.state, world.question(policy=policy, seed=seed))
        assert chosen(decision) == survivor
        assert decision.excluded == {rule: 1}


def test_reliability_and_latency_constraints_look_at_what_happened(world):
    """A key below the wanted reliability, or slower than allowed, is excluded by name."""
    for number in range(3):
        fail(world, f"x{number}", decide(world.state, world.question(tried=("b", "c"))))
    for number in range(20):
        serve(world, f"y{number}", decide(world.state, world.question(tried=("a", "c"))), 2_000_000)
    policy = policy_of({"constraints": {"min_reliability": 0.8, "max_latency_ms": 2001}})
    decision = decide(world.state, world.question(policy=policy))
    assert decision.excluded == {"min_reliability": 1}
    impatient = policy_of({"constraints": {"max_latency_ms": 100}})
    refused = decide(world.state, world.question(policy=impatient))
    assert isinstance(refused, RouteRefused)
    assert refused.excluded == {"max_latency_us": 3}


def test_an_unpriced_model_never_passes_a_cost_limit(world):
    """What has no known price cannot be shown to stay under a limit."""
    policy = policy_of({"constraints": {"max_cost_per_request": 1}})
    refused = decide(world.state, world.question(policy=policy))
    assert isinstance(refused, RouteRefused)


@pytest.mark.parametrize(
    ("question", "rule"),
    [
        ({"model": "other"}, "model_not_offered"),
        ({"needs": ("tools",)}, "capability_missing"),
        ({"provider_id": "elsewhere"}, "other_provider"),
    ],
)
def test_the_catalogue_refuses_what_nobody_offers(question, rule):
    """Model, capability and provider are asked before any state is looked at."""
    world = World()
    world.provider("openai", (ModelOffer(model="m", capabilities=("vision",)),))
    world.key("a")
    refused = decide(world.state, world.question(**question))
    assert isinstance(refused, RouteRefused)
    assert refused.excluded == {rule: 1}


def test_a_key_restricted_to_models_serves_only_those(world):
    """A key may be declared for some models alone."""
    world.key("only", models=["special"])
    assert chosen(decide(world.state, world.question("special", tried=("a", "b", "c")))) == "only"
    refused = decide(world.state, world.question("m", tried=("a", "b", "c")))
    assert refused.excluded["model_not_allowed_for_key"] == 1


def test_evidence_names_the_last_event_behind_each_number(world):
    """State, offer, load and outcome of the chosen key each refer to the event that made them so."""
    first = decide(world.state, world.question(tried=("b", "c")))
    serve(world, "r1", first)
    candidate = decide(world.state, world.question(tried=("b", "c"))).chosen
    assert candidate.state_ref == EventRef("key-a", 1)
    assert candidate.offer_ref == EventRef("catalogue", 1)
    assert candidate.load_ref == EventRef("request-r1", 2)
    assert candidate.outcome_ref == EventRef("request-r1", 2)


def test_the_explanation_names_winner_runner_up_and_reason(world):
    """People read one sentence: who won, who was second, and on what."""
    serve(world, "r", decide(world.state, world.question(tried=("b", "c"))))
    decision = decide(world.state, world.question(seed=0))
    text = explain(decision)
    assert f"Chose key {decision.chosen.key_id} of openai for m" in text
    assert "among 3 eligible" in text


def test_decisions_survive_clock_jumps(world):
    """A clock that falls back a day, or leaps a decade, still gives finite scores and a choice."""
    serve(world, "r", decide(world.state, world.question()))
    for jump_us in (-86_400_000_000, 10 * 365 * 86_400_000_000):
        world.now_us = START_US + jump_us
        decision = decide(world.state, world.question())
        assert 0.0 <= decision.chosen.total <= 1.0
        serve(world, f"r{jump_us}", decision)

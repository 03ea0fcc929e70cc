"""The health of providers: many keys failing alike are one sick provider, one failing key is not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from small_node import SmallNode, assert_same
from worlds import SECOND_US, START_US, chosen

from apikeyrouter.application.replay import verify
from apikeyrouter.domain import keys
from apikeyrouter.domain.events import EventRef, ProviderHealthChanged, RouteRefused
from apikeyrouter.domain.failures import HANDLING, FailureClass
from apikeyrouter.domain.keys import FIRST_REST_US, LONGEST_REST_US
from apikeyrouter.domain.provider_health import TRANSITIONS, Health, ProviderHealth

BLAMING = [failure for failure in FailureClass if HANDLING[failure].blames_provider]
SERVER_ERROR = FailureClass.ServerError


def node_of(**keys_of: str) -> SmallNode:
    """Make a node with keys by the names of their providers."""
    node = SmallNode()
    for provider_id in sorted(set(keys_of.values())):
        node.provider(provider_id)
    for key_id, provider_id in keys_of.items():
        node.key(key_id, provider_id)
    return node


def health(node: SmallNode, provider_id: str = "p") -> Health:
    known = node.state.health.get(provider_id)
    return Health.Healthy if known is None else known.health


def fails(node: SmallNode, *key_ids: str, failure: FailureClass = SERVER_ERROR) -> None:
    """Send a call over each of these keys, then let them all fail."""
    for stream in [node.call(key_id) for key_id in key_ids]:
        node.fail(stream, failure)


def time_comes(node: SmallNode, provider_id: str = "p") -> None:
    """Wait until a provider is tried again, and its keys have rested."""
    node.time_us = max([node.state.unwell[provider_id], *node.state.resting.values()])
    node.upkeep.wake(node.time_us)


def down(node: SmallNode) -> None:
    fails(node, "a", "b", "a", "b", "a")


def recovering(node: SmallNode) -> None:
    down(node)
    time_comes(node)


# --- when a provider goes down -----------------------------------------------------------------------


@pytest.mark.parametrize("failure", BLAMING)
def test_five_failures_over_two_keys_take_a_provider_down(failure):
    """Four do not; the fifth does, and is the evidence."""
    node = node_of(a="p", b="p", c="p")
    fails(node, "a", "b", "a", "b", failure=failure)
    assert health(node) is Health.Healthy
    fails(node, "a", failure=failure)
    (change,) = node.events(ProviderHealthChanged)
    assert (change.from_health, change.to_health) == (Health.Healthy, Health.Down)
    assert (change.trigger, change.until_us) == ("repeated_failures", START_US + FIRST_REST_US)
    assert change.evidence == (EventRef("request-5", 2),)
    refused = node.ask()
    assert isinstance(refused, RouteRefused)
    assert refused.excluded["provider_down"] >= 1
    assert refused.retry_at_us == START_US + FIRST_REST_US


@pytest.mark.parametrize("failure", [failure for failure in FailureClass if failure not in BLAMING])
def test_what_is_not_the_provider_s_fault_never_takes_it_down(failure):
    """Rejected keys, limits and bad requests say nothing of its health, however many there are."""
    node = node_of(a="p", b="p")
    for stream in [node.call(key_id) for key_id in "ab" * 10]:
        node.fail(stream, failure)
    assert not node.events(ProviderHealthChanged)


@pytest.mark.parametrize("burst", [1, 5, 20])
def test_one_bad_key_never_takes_down_a_provider_whose_other_keys_have_not_failed(burst):
    """Not even by a burst of calls that were under way together, while the others are slow to answer."""
    node = node_of(bad="p", good="p")
    slow = node.call("good")
    for _ in range(20):
        streams = [node.call("bad") for _ in range(burst)]
        for stream in filter(None, streams):
            node.fail(stream, SERVER_ERROR)
        node.time_us += LONGEST_REST_US
    assert health(node) is Health.Healthy
    node.serve(slow)
    assert node.state.health["p"].failures == 0


def test_the_failures_of_the_only_key_are_the_provider_s():
    """Whoever has but one key that lives hears of the provider's health all the same."""
    node = node_of(only="p", gone="p")
    node.manage(keys.revoke, "gone", reason="r")
    fails(node, *["only"] * 4)
    assert health(node) is Health.Healthy
    node.time_us += LONGEST_REST_US
    fails(node, "only")
    assert health(node) is Health.Down


def test_the_failures_of_the_only_key_add_up_across_its_rotations():
    """New material that fails alike is one more sign that it was never the key."""
    node = node_of(only="p")
    for _ in range(5):
        assert health(node) is Health.Healthy
        fails(node, "only")
        node.manage(keys.rotate, "only", fingerprint=f"print-{node.state.position}")
    assert health(node) is Health.Down


def test_a_success_in_between_makes_the_count_begin_anew():
    """Five failures in a row, not five in all."""
    node = node_of(a="p", b="p")
    fails(node, "a", "b", "a", "b")
    node.serve(node.call("a"))
    fails(node, "a", "b", "a", "b")
    assert health(node) is Health.Healthy


def test_the_failures_of_one_provider_are_not_those_of_another():
    """Each is counted for itself, and the keys of the other stay in service."""
    node = node_of(a="p", b="p", x="q", y="q")
    fails(node, "x", "a", "b", "a", "b", "x", "a")
    assert (health(node, "p"), health(node, "q")) == (Health.Down, Health.Healthy)
    assert chosen(node.ask()) in {"x", "y"}


def test_a_key_that_is_registered_while_its_provider_is_down_waits_with_it():
    """A new key does not open what all others have found closed."""
    node = node_of(a="p", b="p")
    down(node)
    node.key("new")
    assert isinstance(node.ask(tried=["a", "b"]), RouteRefused)
    time_comes(node)
    assert chosen(node.ask(tried=["a", "b"])) == "new"


# --- how it comes back -------------------------------------------------------------------------------


def test_a_provider_rests_twice_as_long_each_time_within_bounds():
    """5 s, 10 s, and so on up to 300 s, from failure to failure."""
    node = node_of(a="p", b="p")
    down(node)
    rests_s = []
    for _ in range(9):
        rests_s.append((node.state.unwell["p"] - node.time_us) // SECOND_US)
        time_comes(node)
        fails(node, "a")
    assert rests_s == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert LONGEST_REST_US == 300 * SECOND_US


def test_a_provider_is_not_tried_a_microsecond_before_its_time():
    """Then it is, and the change names the event that put it down."""
    node = node_of(a="p", b="p")
    down(node)
    node.time_us = node.state.unwell["p"] - 1
    assert isinstance(node.ask(), RouteRefused)
    node.time_us += 1
    node.upkeep.wake(node.time_us)
    change = node.events(ProviderHealthChanged)[-1]
    assert (change.to_health, change.trigger) == (Health.Recovering, "rest_elapsed")
    assert change.evidence == (EventRef("provider-p", 1),)


def test_a_recovering_provider_is_given_one_request_while_others_remain():
    """The first may try it, the second is spared that, and who has tried all others may come."""
    node = node_of(a="p", b="p", other="q")
    recovering(node)
    assert node.ask(tried=["other"]).excluded == {"already_tried": 1}
    trial = node.call("a")
    spared = node.ask()
    assert chosen(spared) == "other"
    assert spared.excluded["provider_recovering"] == 2
    assert chosen(node.ask(tried=["other"])) in {"a", "b"}
    node.leave(trial)
    assert "provider_recovering" not in node.ask().excluded


def test_a_recovering_provider_is_given_all_requests_when_it_is_the_only_one():
    """Clients are not refused for the sake of a trial."""
    node = node_of(a="p", b="p")
    recovering(node)
    assert all(node.call(seed=seed) for seed in range(20))


def test_a_success_heals_and_the_next_rest_is_short_again():
    """One served request brings a recovering provider back, with everything forgotten."""
    node = node_of(a="p", b="p", other="q")
    recovering(node)
    fails(node, "a")
    time_comes(node)
    node.serve(node.call("a"))
    assert node.events(ProviderHealthChanged)[-1].trigger == "served_again"
    assert node.state.health["p"] == ProviderHealth(provider_id="p", version=5)
    assert "p" not in node.state.unwell
    node.time_us += LONGEST_REST_US
    down(node)
    assert node.state.unwell["p"] == node.time_us + FIRST_REST_US


def test_a_late_success_of_a_call_made_before_does_not_cut_the_rest_short():
    """A provider that is down is tried when its time has come, and not before."""
    node = node_of(a="p", b="p")
    early = node.call("b")
    down(node)
    node.serve(early)
    assert health(node) is Health.Down
    time_comes(node)
    assert health(node) is Health.Recovering


def test_a_recovering_provider_that_fails_again_goes_down_however_few_failures_are_counted():
    """A late success made the count begin anew; the trial has failed all the same."""
    node = node_of(a="p", b="p")
    early = node.call("b")
    down(node)
    node.serve(early)
    time_comes(node)
    fails(node, "a")
    assert health(node) is Health.Down


def test_late_failures_of_calls_made_before_do_not_prolong_the_rest():
    """What was under way when it went down tells nothing new."""
    node = node_of(a="p", b="p")
    early = [node.call("b") for _ in range(5)]
    down(node)
    until_us = node.state.unwell["p"]
    for stream in early:
        node.fail(stream, SERVER_ERROR)
    assert node.state.unwell["p"] == until_us
    assert len(node.events(ProviderHealthChanged)) == 1


# --- the table ---------------------------------------------------------------------------------------

HISTORIES = {
    (Health.Healthy, Health.Down): (down,),
    (Health.Down, Health.Recovering): (recovering,),
    (Health.Recovering, Health.Healthy): (recovering, lambda node: node.serve(node.call("a"))),
    (Health.Recovering, Health.Down): (recovering, lambda node: fails(node, "a")),
}


@pytest.mark.parametrize("before", list(Health))
@pytest.mark.parametrize("after", list(Health))
def test_the_transitions_that_exist_happen_and_no_others(before, after):
    """Each pair of the table has a history that makes it; what is not in the table cannot be told."""
    assert ((before, after) in HISTORIES) == (after in TRANSITIONS[before])
    if (before, after) in HISTORIES:
        node = node_of(a="p", b="p")
        for step in HISTORIES[before, after]:
            step(node)
        change = node.events(ProviderHealthChanged)[-1]
        assert (change.from_health, change.to_health) == (before, after)
    else:
        with pytest.raises(AssertionError):
            ProviderHealth(provider_id="p", health=before).change(after, "wish", START_US, ())


# --- whatever happens --------------------------------------------------------------------------------


class Providers(RuleBasedStateMachine):
    """Two providers with three keys each; calls end in any way and any order."""

    @initialize()
    def begin(self):
        self.node = node_of(a="p", b="p", c="p", x="q", y="q", z="q")
        self.failed: dict[str, list[str]] = {"p": [], "q": []}
        self.told = 0

    @rule(step_us=st.integers(0, 10**7) | st.integers(-(10**9), 10**9))
    def time_passes(self, step_us):
        self.node.time_us += step_us
        self.node.upkeep.wake(self.node.time_us)

    @rule(key_id=st.sampled_from("abcxyz"), count=st.integers(1, 4))
    def calls_go_out(self, key_id, count):
        for _ in range(count):
            self.node.call(key_id)

    @rule(data=st.data(), failure=st.just(SERVER_ERROR) | st.sampled_from(FailureClass))
    def a_call_fails(self, data, failure):
        if self.node.out:
            stream = data.draw(st.sampled_from(sorted(self.node.out)))
            chosen_key = self.node.out[stream].chosen
            if HANDLING[failure].blames_provider:
                self.failed[chosen_key.provider_id].append(chosen_key.key_id)
            self.node.fail(stream, failure)

    @rule(data=st.data())
    def a_call_succeeds(self, data):
        if self.node.out:
            stream = data.draw(st.sampled_from(sorted(self.node.out)))
            self.failed[self.node.out[stream].chosen.provider_id].clear()
            self.node.serve(stream)

    @rule(key_id=st.sampled_from("abcxyz"))
    def a_key_is_rotated(self, key_id):
        self.node.manage(keys.rotate, key_id, fingerprint=f"print-{self.node.state.position}")

    @invariant()
    def every_change_is_one_that_exists_with_evidence_and_a_bounded_rest(self):
        for recorded in self.node.log.recorded[self.told :] if hasattr(self, "node") else ():
            change = recorded.event
            if isinstance(change, ProviderHealthChanged):
                assert Health(change.to_health) in TRANSITIONS[Health(change.from_health)]
                assert change.trigger
                assert change.evidence
                assert all(self.node.resolves(ref) for ref in change.evidence)
                assert (change.until_us is not None) == (change.to_health == Health.Down)
                if change.until_us is not None:
                    assert FIRST_REST_US <= change.until_us - change.at_us <= LONGEST_REST_US
                if change.from_health == Health.Healthy:
                    self.a_provider_goes_down_by_many_keys(change.provider_id)
        self.told = len(self.node.log.recorded) if hasattr(self, "node") else 0

    def a_provider_goes_down_by_many_keys(self, provider_id):
        failed = self.failed[provider_id]
        assert len(failed) >= 5
        sound = [
            key
            for key in self.node.state.keys.values()
            if key.provider_id == provider_id and key.state == "available" and key.key_id not in failed
        ]
        assert len(set(failed)) >= 2 or not sound

    @invariant()
    def keys_are_out_of_reach_exactly_while_their_provider_is_down(self):
        for key in self.node.state.keys.values() if hasattr(self, "node") else ():
            is_down = health(self.node, key.provider_id) is Health.Down
            assert not (is_down and self.node.state.columns.all_fit)
            assert bool(self.node.state.columns.reachable[key.row]) == (not is_down)
            assert (key.provider_id in self.node.state.unwell) == (
                health(self.node, key.provider_id) is not Health.Healthy
            )

    def teardown(self):
        if hasattr(self, "node"):
            assert_same(self.node.state, self.node.refolded())
            assert verify(self.node.log.read()).identical


TestProviders = Providers.TestCase
TestProviders.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


@given(st.lists(st.sampled_from(["fail", "send", "wait"]), max_size=60))
def test_no_order_of_one_key_s_failures_harms_a_provider_with_a_sound_key(steps):
    """The sound key is never asked here, and never found guilty."""
    node = node_of(bad="p", sound="p")
    for step in steps:
        if step == "send":
            node.call("bad")
        elif step == "fail" and node.out:
            node.fail(min(node.out), SERVER_ERROR)
        elif step == "wait":
            node.time_us += LONGEST_REST_US
    assert health(node) is Health.Healthy

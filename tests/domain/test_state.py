"""The fold: a function of the events and of nothing else."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from worlds import World

from apikeyrouter.domain.events import (
    AttemptFailed,
    RequestCancelled,
    RequestCompleted,
    RequestFailed,
    RequestReleased,
    RouteDecided,
    canonical_bytes,
)
from apikeyrouter.domain.failures import HANDLING, FailureClass
from apikeyrouter.domain.objectives import PRESETS
from apikeyrouter.domain.routing import decide


class Traffic(RuleBasedStateMachine):
    """Requests start, fail, fail over, end or are left, in any order, over a few keys."""

    @initialize(count=st.integers(1, 6))
    def begin(self, count):
        self.world = World()
        self.world.provider()
        for number in range(count):
            self.world.key(f"k{number}", weight=1 + number)
        self.started = 0
        self.out: dict[str, RouteDecided] = {}
        self.waiting: dict[str, tuple[str, ...]] = {}

    def _decide(self, stream, tried, seed, objective):
        question = self.world.question(policy=PRESETS[objective], tried=tried, seed=seed)
        decision = decide(self.world.state, question)
        self.world.append(stream, decision)
        if isinstance(decision, RouteDecided):
            assert decision.chosen.key_id not in tried
            self.out[stream] = decision

    @rule(seed=st.integers(0, 2**53 - 1), objective=st.sampled_from(list(PRESETS)))
    def starts(self, seed, objective):
        self.started += 1
        self._decide(f"request-{self.started}", (), seed, objective)

    @rule(data=st.data(), failure=st.sampled_from(FailureClass))
    def attempt_fails(self, data, failure):
        if not self.out:
            return
        stream = data.draw(st.sampled_from(sorted(self.out)))
        decision = self.out.pop(stream)
        event = AttemptFailed(
            at_us=self.world.now_us,
            attempt=decision.attempt,
            key_id=decision.chosen.key_id,
            provider_id="openai",
            failure=failure,
            effect=HANDLING[failure].effect,
            elapsed_us=5,
        )
        self.world.append(stream, event)
        self.waiting[stream] = (*decision.tried, decision.chosen.key_id)

    @rule(data=st.data(), seed=st.integers(0, 2**53 - 1))
    def fails_over(self, data, seed):
        if self.waiting:
            stream = data.draw(st.sampled_from(sorted(self.waiting)))
            self._decide(stream, self.waiting.pop(stream), seed, "reliability")

    @rule(data=st.data(), kind=st.sampled_from(["completed", "cancelled", "released"]))
    def ends(self, data, kind):
        if not self.out:
            return
        stream = data.draw(st.sampled_from(sorted(self.out)))
        decision = self.out.pop(stream)
        common = {
            "at_us": self.world.now_us,
            "attempt": decision.attempt,
            "key_id": decision.chosen.key_id,
        }
        used = {
            "provider_id": "openai",
            "input_tokens": 1,
            "output_tokens": 1,
            "usage_source": "provider",
            "elapsed_us": 9,
            "response_bytes": 1,
        }
        event = {
            "completed": lambda: RequestCompleted(
                **common, **used, model="m", first_byte_us=7, response_sha256="0"
            ),
            "cancelled": lambda: RequestCancelled(**common, **used, phase="streaming"),
            "released": lambda: RequestReleased(**common, trigger="process_died"),
        }[kind]()
        self.world.append(stream, event)

    @rule(data=st.data())
    def gives_up(self, data):
        if self.waiting:
            stream = data.draw(st.sampled_from(sorted(self.waiting)))
            del self.waiting[stream]
            failed = RequestFailed(at_us=self.world.now_us, attempts=1, failure="server_error", status=502)
            self.world.append(stream, failed)

    @rule(step_us=st.integers(-(10**7), 10**11))
    def time_passes(self, step_us):
        self.world.now_us += step_us

    @invariant()
    def what_is_in_flight_is_what_is_out(self):
        if hasattr(self, "world"):
            state = self.world.state
            assert state.columns.in_flight[: state.columns.count].sum() == len(self.out)
            assert set(state.open_requests) == {*self.out, *self.waiting}

    def teardown(self):
        if not hasattr(self, "world"):
            return
        live, again = self.world.state, self.world.refolded()
        question = self.world.question(seed=7)
        assert canonical_bytes(decide(live, question)) == canonical_bytes(decide(again, question))
        assert np.isfinite(live.columns.outcomes.sums).all()


TestTraffic = Traffic.TestCase
TestTraffic.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_unknown_streams_and_ends_without_beginnings_are_ignored():
    """The fold never raises: an end whose beginning is not there changes nothing."""
    world = World()
    world.provider()
    world.key("a")
    before = world.state.columns.in_flight.copy()
    world.append("request-ghost", RequestFailed(at_us=1, attempts=1, failure="x", status=500))
    released = RequestReleased(at_us=1, attempt=1, key_id="a", trigger="process_died")
    world.append("request-other", released)
    assert (world.state.columns.in_flight == before).all()

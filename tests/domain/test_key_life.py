"""Whatever happens to keys, in whatever order: what always holds, sentence by sentence."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from small_node import SmallNode, assert_same

from apikeyrouter.application.replay import verify
from apikeyrouter.domain import keys
from apikeyrouter.domain.columns import KEY_STATES
from apikeyrouter.domain.events import (
    KeyMaterialRotated,
    KeyRevoked,
    KeyStateChanged,
)
from apikeyrouter.domain.failures import FailureClass
from apikeyrouter.domain.models.api_key import ELIGIBLE_STATES, KeyState
from apikeyrouter.domain.models.system_error import ConflictError

TIMED = {KeyState.Throttled, KeyState.Exhausted}
DAY_US = 86_400_000_000
TELLING = [FailureClass.KeyRejected, FailureClass.QuotaExhausted, FailureClass.RateLimited]
COMMANDS = {
    keys.disable: {},
    keys.enable: {},
    keys.drain: {},
    keys.rotate: {"fingerprint": ""},
    keys.pin: {"pinned": True},
    keys.change_metadata: {"metadata": {"max_concurrency": 3}},
}


class KeyLife(RuleBasedStateMachine):
    """Two keys, their calls and their managers, and a clock that may be set back."""

    @initialize(others=st.integers(0, 2))
    def begin(self, others):
        self.node = SmallNode()
        self.node.provider()
        self.names = [f"k{number}" for number in range(1 + others)]
        for name in self.names:
            self.node.key(name)
        self.told = self.node.state.position
        self.rests_until_us = dict.fromkeys(self.names, 0)
        self.refused_material = dict.fromkeys(self.names, 0)
        self.known = dict.fromkeys(self.names, KeyState.Available)

    # --- what may happen -----------------------------------------------------------------------------

    @rule(step_us=st.integers(0, 10**7) | st.integers(-DAY_US, 2 * DAY_US))
    def time_passes(self, step_us):
        self.node.time_us += step_us
        self.node.upkeep.wake(self.node.time_us)

    @rule(data=st.data(), seed=st.integers(0, 99))
    def a_request_arrives(self, data, seed):
        tried = data.draw(st.sets(st.sampled_from(self.names)))
        states = {name: key.state for name, key in self.node.state.keys.items()}
        stream = self.node.call(tried=sorted(tried), seed=seed)
        if stream is not None:
            chosen = self.node.out[stream].chosen.key_id
            woken = self.node.state.keys[chosen].state
            assert woken in ELIGIBLE_STATES, "only these get requests"
            assert states[chosen] is not KeyState.Draining, "a draining key gets no new one"

    @rule(
        data=st.data(),
        failure=st.sampled_from(TELLING) | st.sampled_from(FailureClass),
        wait_us=st.none() | st.integers(-5, 10**8) | st.integers(0, 10**12),
    )
    def a_call_fails(self, data, failure, wait_us):
        if not self.node.out:
            return
        stream = data.draw(st.sampled_from(sorted(self.node.out)))
        name = self.node.out[stream].chosen.key_id
        used = self.node.state.open_requests[stream].material_version
        if failure is FailureClass.KeyRejected:
            self.refused_material[name] = max(self.refused_material[name], used)
        self.node.fail(stream, failure, retry_after_us=wait_us)

    @rule(data=st.data(), well=st.booleans())
    def a_call_ends(self, data, well):
        if self.node.out:
            stream = data.draw(st.sampled_from(sorted(self.node.out)))
            (self.node.serve if well else self.node.leave)(stream)

    @rule(data=st.data(), command=st.sampled_from(list(COMMANDS)))
    def somebody_commands(self, data, command):
        name = data.draw(st.sampled_from(self.names))
        details = dict(COMMANDS[command])
        if "fingerprint" in details:
            details["fingerprint"] = f"print-{self.node.state.position}"
        if "pinned" in details:
            details["pinned"] = not self.node.state.keys[name].pinned
        before = self.node.state.position
        try:
            self.node.manage(command, name, **details)
        except ConflictError:
            assert self.node.state.position == before, "a refusal changes nothing"

    @rule(data=st.data(), certainly=st.integers(0, 9))
    def somebody_revokes(self, data, certainly):
        name = data.draw(st.sampled_from(self.names))
        if certainly == 0 and self.node.state.keys[name].state is not KeyState.Revoked:
            self.node.manage(keys.revoke, name, reason="r")

    # --- what always holds ---------------------------------------------------------------------------

    @invariant()
    def every_change_is_one_that_exists_and_names_why_who_and_when(self):
        for recorded in self._news():
            name = recorded.stream.removeprefix("key-")
            match recorded.event:
                case KeyStateChanged() as change:
                    self._check(name, change)
                case KeyMaterialRotated() as rotated:
                    assert self.known[name] is not KeyState.Revoked
                    assert rotated.actor == "t"
                    self.rests_until_us[name] = 0
                case KeyRevoked():
                    self.known[name] = KeyState.Revoked

    def _news(self):
        if not hasattr(self, "node"):
            return []
        news = self.node.log.recorded[self.told :]
        self.told += len(news)
        return news

    def _check(self, name, change):
        to_state = KeyState(change.to_state)
        assert change.from_state == self.known[name], "a change begins where the last one ended"
        assert to_state in keys.TRANSITIONS[self.known[name]]
        assert change.trigger
        assert change.at_us <= self.node.time_us
        if change.actor == keys.ROUTER:
            assert change.evidence
            assert all(self.node.resolves(ref) for ref in change.evidence)
        if to_state in ELIGIBLE_STATES and self.known[name] not in ELIGIBLE_STATES:
            assert change.at_us >= self.rests_until_us[name], "no key comes back before its time"
        if to_state is KeyState.Available and self.known[name] is KeyState.Exhausted:
            assert change.trigger == "material_rotated"
        if to_state in TIMED:
            assert change.until_us >= self.rests_until_us[name], "a cooldown never shortens"
            self.rests_until_us[name] = change.until_us
        self.known[name] = to_state

    @invariant()
    def a_rejected_key_serves_only_with_new_material(self):
        for key in self._keys():
            if self.refused_material[key.key_id] == key.material_version:
                assert key.rejected
                assert key.state in keys.OUT_OF_SERVICE

    @invariant()
    def an_invalid_key_was_rejected_and_a_new_material_is_not(self):
        for key in self._keys():
            if key.state is KeyState.Invalid:
                assert self.refused_material[key.key_id] == key.material_version

    @invariant()
    def a_draining_key_has_something_to_finish(self):
        for key in self._keys():
            if key.state is KeyState.Draining:
                assert any(out.chosen.key_id == key.key_id for out in self.node.out.values())

    @invariant()
    def only_timed_states_have_an_end_and_it_is_waited_for(self):
        resting = {key.key_id: key.until_us for key in self._keys() if key.state in TIMED}
        for key in self._keys():
            assert (key.until_us is not None) == (key.state in TIMED)
        if hasattr(self, "node"):
            assert self.node.state.resting == resting

    @invariant()
    def the_columns_tell_what_the_keys_tell(self):
        for key in self._keys():
            columns = self.node.state.columns
            assert KEY_STATES[columns.state_code[key.row]] is key.state
            assert bool(columns.available[key.row]) == (key.state in ELIGIBLE_STATES)
            assert bool(columns.on_trial[key.row]) == key.on_trial
            assert key.on_trial <= (key.state in ELIGIBLE_STATES)
            assert key.on_trial >= (key.state is KeyState.Recovering)
            out = sum(decision.chosen.key_id == key.key_id for decision in self.node.out.values())
            assert columns.in_flight[key.row] == out
        if hasattr(self, "node"):
            columns, fit = self.node.state.columns, {*ELIGIBLE_STATES, KeyState.Revoked}
            assert columns.trials == sum(key.on_trial for key in self._keys())
            assert columns.all_fit == all(key.state in fit for key in self._keys())

    @invariant()
    def fingerprints_name_living_keys_only(self):
        living = {key.fingerprint: key.key_id for key in self._keys() if key.state is not KeyState.Revoked}
        if hasattr(self, "node"):
            assert self.node.state.fingerprints == living

    def _keys(self):
        return list(self.node.state.keys.values()) if hasattr(self, "node") else []

    def teardown(self):
        if not hasattr(self, "node"):
            return
        assert_same(self.node.state, self.node.refolded())
        verified = verify(self.node.log.read())
        assert verified.identical, verified.differences


TestKeyLife = KeyLife.TestCase
TestKeyLife.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)

"""The life of a key: every transition that exists, and those that do not."""

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from worlds import SECOND_US, START_US

from apikeyrouter.domain import keys
from apikeyrouter.domain.events import EventRef, KeyRegistered, key_stream
from apikeyrouter.domain.failures import HANDLING, Failure, FailureClass, KeyEffect
from apikeyrouter.domain.models.api_key import ELIGIBLE_STATES, KeyState
from apikeyrouter.domain.models.system_error import ConflictError
from apikeyrouter.domain.state import RouterState

EVIDENCE = EventRef("request-x", 2)


def given(state: RouterState, *events) -> keys.Key:
    """Fold events of one key into a state and return the key."""
    for event in events:
        stream = key_stream("k")
        state.evolve(state.position + 1, stream, state.next_version(stream), event)
    return state.keys["k"]


@pytest.fixture
def state() -> RouterState:
    state = RouterState()
    given(state, KeyRegistered(at_us=START_US, actor="test", provider_id="openai", fingerprint="p"))
    return state


def suffer(state: RouterState, failure_class: FailureClass, at_us: int = START_US, **details):
    key = state.keys["k"]
    failure = Failure(failure_class=failure_class, **details)
    return keys.suffer(key, failure, at_us=at_us, evidence=EVIDENCE, material_version=key.material_version)


def test_a_rejected_key_is_invalid_until_its_material_is_rotated(state):
    """401 invalidates; wishing does not heal it, rotation does."""
    given(state, suffer(state, FailureClass.KeyRejected))
    assert state.keys["k"].state is KeyState.Invalid
    assert not state.columns.available[0]
    with pytest.raises(ConflictError, match="rotate"):
        keys.enable(state.keys["k"], at_us=START_US, actor="test")
    given(state, *keys.rotate(state.keys["k"], at_us=START_US, actor="test", fingerprint="q"))
    assert state.keys["k"].state is KeyState.Available


def test_a_failure_of_replaced_material_leaves_the_new_material_alone(state):
    """A 401 that arrives after the rotation speaks of the old secret."""
    key = state.keys["k"]
    given(state, *keys.rotate(key, at_us=START_US, actor="test", fingerprint="q"))
    failure = Failure(failure_class=FailureClass.KeyRejected)
    after = keys.suffer(
        state.keys["k"],
        failure,
        at_us=START_US,
        evidence=EVIDENCE,
        material_version=key.material_version,
    )
    assert after is None


def test_a_throttled_key_rests_exactly_as_long_as_the_provider_said(state):
    """Retry-After is obeyed to the microsecond."""
    given(state, suffer(state, FailureClass.RateLimited, retry_after_us=7 * SECOND_US))
    key = state.keys["k"]
    assert (key.state, key.until_us) == (KeyState.Throttled, START_US + 7 * SECOND_US)
    assert keys.wake(key, at_us=key.until_us - 1) is None
    woken = given(state, keys.wake(key, at_us=key.until_us))
    assert woken.state is KeyState.Available


def test_a_rest_is_prolonged_but_never_shortened(state):
    """A later 429 with a shorter wait changes nothing; one with a longer wait counts."""
    given(state, suffer(state, FailureClass.RateLimited, retry_after_us=10 * SECOND_US))
    assert suffer(state, FailureClass.RateLimited, retry_after_us=SECOND_US) is None
    longer = suffer(state, FailureClass.RateLimited, retry_after_us=11 * SECOND_US)
    assert longer.until_us == START_US + 11 * SECOND_US


def test_an_exhausted_key_recovers_by_serving(state):
    """Exhausted, then Recovering when its window resets, then Available after a success."""
    given(state, suffer(state, FailureClass.QuotaExhausted, retry_after_us=SECOND_US))
    assert state.keys["k"].state is KeyState.Exhausted
    assert state.keys["k"].until_us == START_US + 3600 * SECOND_US
    assert suffer(state, FailureClass.RateLimited, retry_after_us=9 * SECOND_US) is None
    recovering = given(state, keys.wake(state.keys["k"], at_us=START_US + 3600 * SECOND_US))
    assert recovering.state is KeyState.Recovering
    healed = given(state, keys.succeed(recovering, at_us=START_US, evidence=EVIDENCE))
    assert healed.state is KeyState.Available


def test_repeated_failures_send_a_key_to_rest_for_longer_and_longer(state):
    """The third strike in a row rests the key, each further one for twice as long, up to a bound."""
    waits = []
    for strikes in range(14):
        state.keys["k"] = msgspec.structs.replace(
            state.keys["k"], strikes=strikes, state=KeyState.Available, until_us=None
        )
        change = suffer(state, FailureClass.ServerError)
        waits.append(None if change is None else (change.until_us - START_US) // SECOND_US)
    assert waits == [None, None, 5, 10, 20, 40, 80, 160, 300, 300, 300, 300, 300, 300]


@pytest.mark.parametrize("failure_class", list(FailureClass))
def test_every_failure_class_has_a_row_with_a_reason(failure_class):
    """The table is complete, and a request's own fault never touches the key."""
    handling = HANDLING[failure_class]
    assert handling.reason
    assert 400 <= handling.status < 600
    if not handling.another_key and failure_class is not FailureClass.TotalTimeout:
        assert handling.effect is KeyEffect.Nothing


class KeyLife(RuleBasedStateMachine):
    """Anything may happen to a key, in any order."""

    def __init__(self):
        super().__init__()
        self.state = RouterState()
        self.now_us = START_US
        self.fingerprints = 0
        registered = KeyRegistered(at_us=self.now_us, actor="t", provider_id="p", fingerprint="0")
        self.longest_rest_us = 0
        given(self.state, registered)

    @property
    def key(self) -> keys.Key:
        return self.state.keys["k"]

    def change(self, event) -> None:
        if event is not None:
            given(self.state, event)

    @rule(wait_us=st.integers(0, 10**9))
    def time_passes(self, wait_us):
        self.now_us += wait_us
        before = self.key
        woken = keys.wake(before, at_us=self.now_us)
        self.change(woken)
        if woken is not None:
            assert before.until_us <= self.now_us

    @rule(failure_class=st.sampled_from(FailureClass), wait_us=st.none() | st.integers(-5, 10**12))
    def fails(self, failure_class, wait_us):
        before = self.key
        failure = Failure(failure_class=failure_class, retry_after_us=wait_us)
        self.change(
            keys.suffer(
                before,
                failure,
                at_us=self.now_us,
                evidence=EVIDENCE,
                material_version=before.material_version,
            )
        )
        if before.until_us is not None and self.key.until_us is not None:
            assert self.key.until_us >= before.until_us, "a rest that runs is never shortened"

    @rule()
    def succeeds(self):
        self.change(keys.succeed(self.key, at_us=self.now_us, evidence=EVIDENCE))

    @rule()
    def is_disabled(self):
        try:
            self.change(keys.disable(self.key, at_us=self.now_us, actor="t"))
        except ConflictError:
            assert self.key.state in {KeyState.Disabled, KeyState.Revoked}

    @rule()
    def is_enabled(self):
        before = self.key.state
        try:
            self.change(keys.enable(self.key, at_us=self.now_us, actor="t"))
        except ConflictError:
            assert before is not KeyState.Disabled
        else:
            assert before is KeyState.Disabled

    @precondition(lambda self: self.key.state is not KeyState.Revoked)
    @rule()
    def is_rotated(self):
        before = self.key.state
        self.fingerprints += 1
        events = keys.rotate(self.key, at_us=self.now_us, actor="t", fingerprint=str(self.fingerprints))
        given(self.state, *events)
        assert self.key.state is (KeyState.Disabled if before is KeyState.Disabled else KeyState.Available)

    @rule(certainly=st.integers(0, 20))
    def is_revoked(self, certainly):
        if certainly == 0 and self.key.state is not KeyState.Revoked:
            self.change(keys.revoke(self.key, at_us=self.now_us, actor="t", reason="r"))

    @invariant()
    def only_eligible_states_can_be_chosen(self):
        assert bool(self.state.columns.available[0]) == (self.key.state in ELIGIBLE_STATES)

    @invariant()
    def only_timed_states_have_an_end(self):
        timed = self.key.state in {KeyState.Throttled, KeyState.Exhausted}
        assert (self.key.until_us is not None) == timed
        assert ("k" in self.state.resting) == timed
        assert self.state.next_wake_us == self.key.until_us

    @invariant()
    def fingerprints_name_living_keys_only(self):
        living = self.key.state is not KeyState.Revoked
        assert self.state.fingerprints == ({str(self.fingerprints): "k"} if living else {})


TestKeyLife = KeyLife.TestCase

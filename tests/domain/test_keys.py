"""The life of a key: every transition that exists, and those that do not."""

import msgspec
import pytest
from key_steps import (
    DI,
    DR,
    HOUR_US,
    INV,
    REACHED,
    REV,
    TO_RECOVERING,
    A,
    E,
    R,
    T,
    calls_end,
    disabled,
    drained,
    enabled,
    lived,
    quota_gone,
    quota_gone_longer,
    rate_limited,
    rate_limited_longer,
    rejected,
    revoked,
    rotated,
    served,
    time_comes,
)
from small_node import assert_same
from worlds import SECOND_US, START_US

from apikeyrouter.domain import keys
from apikeyrouter.domain.events import (
    EventRef,
    KeyRegistered,
    KeyStateChanged,
    RouteRefused,
    key_stream,
)
from apikeyrouter.domain.failures import HANDLING, Failure, FailureClass, KeyEffect
from apikeyrouter.domain.models.api_key import KeyState
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
    assert keys.wake(key, at_us=key.until_us - 1, since=EVIDENCE) is None
    woken = given(state, keys.wake(key, at_us=key.until_us, since=EVIDENCE))
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
    assert state.keys["k"].until_us == START_US + HOUR_US
    assert suffer(state, FailureClass.RateLimited, retry_after_us=9 * SECOND_US) is None
    recovering = given(state, keys.wake(state.keys["k"], at_us=START_US + 3600 * SECOND_US, since=EVIDENCE))
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


# --- every transition, by the shortest history that makes it -----------------------------------------

HISTORIES = {
    (A, T): (rate_limited,),
    (A, E): (quota_gone,),
    (A, INV): (rejected,),
    (A, DR): (drained,),
    (A, DI): (disabled,),
    (T, A): (rate_limited, time_comes),
    (T, T): (rate_limited, rate_limited_longer),
    (T, E): (rate_limited, quota_gone),
    (T, INV): (rate_limited, rejected),
    (T, DR): (rate_limited, drained),
    (T, DI): (rate_limited, disabled),
    (E, R): TO_RECOVERING,
    (E, A): (quota_gone, rotated),
    (E, E): (quota_gone, quota_gone_longer),
    (E, INV): (quota_gone, rejected),
    (E, DR): (quota_gone, drained),
    (E, DI): (quota_gone, disabled),
    (R, A): (*TO_RECOVERING, served),
    (R, T): (*TO_RECOVERING, rate_limited),
    (R, E): (*TO_RECOVERING, quota_gone),
    (R, INV): (*TO_RECOVERING, rejected),
    (R, DR): (*TO_RECOVERING, drained),
    (R, DI): (*TO_RECOVERING, disabled),
    (DR, DI): (drained, calls_end),
    (DR, A): (drained, enabled),
    (DR, T): (rate_limited, drained, enabled),
    (DR, E): (quota_gone, drained, enabled),
    (DR, INV): (drained, rejected, enabled),
    (DI, A): (disabled, enabled),
    (DI, T): (rate_limited, disabled, enabled),
    (DI, E): (quota_gone, disabled, enabled),
    (DI, INV): (disabled, rejected, enabled),
    (INV, A): (rejected, rotated),
    (INV, DI): (rejected, disabled),
}


def test_the_histories_make_every_transition_that_exists():
    """The table of transitions holds nothing that cannot happen, and the histories below miss nothing."""
    assert set(HISTORIES) == {(before, to) for before, after in keys.TRANSITIONS.items() for to in after}


@pytest.mark.parametrize(
    ("pair", "history"), HISTORIES.items(), ids=["-".join(map(str, pair)) for pair in HISTORIES]
)
def test_a_transition_happens_and_leaves_its_evidence(pair, history):
    """Each pair of states is one event that names trigger, author, time and what it was made from."""
    node = lived(history)
    change = node.events(KeyStateChanged)[-1]
    assert (change.from_state, change.to_state) == pair
    assert change.trigger
    assert change.at_us == node.time_us
    assert (change.actor == "t") == (history[-1] in {disabled, drained, enabled, rotated})
    assert change.actor == "t" or change.evidence
    assert all(node.resolves(ref) for ref in change.evidence)
    assert_same(node.state, node.refolded())


@pytest.mark.parametrize(
    "pair",
    [(before, to) for before in KeyState for to in KeyState if to not in keys.TRANSITIONS[before]],
    ids="-".join,
)
def test_a_transition_that_does_not_exist_is_refused(pair):
    """Whoever would describe one hears which states it was about."""
    before, to = pair
    key = lived(REACHED[before]).state.keys["k"]
    assert key.state is before
    with pytest.raises(ConflictError, match=f"{before} and cannot become {to}"):
        key.change(to, "wish", at_us=START_US)


@pytest.mark.parametrize("before", [state for state in KeyState if state is not REV])
def test_a_key_can_be_revoked_from_anywhere_and_never_comes_back(before):
    """Revocation ends a key in any state; after it every command is refused and nothing else changes it."""
    node = lived((*REACHED[before], revoked))
    assert node.state.keys["k"].state is REV
    for step in (disabled, drained, enabled, rotated, revoked):
        with pytest.raises(ConflictError, match="revoked"):
            step(node)
    changes = len(node.events(KeyStateChanged))
    node.time_us += 1000 * HOUR_US
    while node.out:
        rejected(node)
    assert isinstance(node.ask(), RouteRefused)
    assert node.state.keys["k"].state is REV
    assert len(node.events(KeyStateChanged)) == changes


@pytest.mark.parametrize(
    ("history", "step", "complaint"),
    [
        ((disabled,), disabled, "disabled already"),
        ((disabled,), drained, "gets no new requests already"),
        ((drained,), drained, "gets no new requests already"),
        ((rejected,), drained, "gets no new requests already"),
        ((rejected,), enabled, "rotate"),
        ((), enabled, "not disabled"),
        ((rate_limited,), enabled, "not disabled"),
    ],
)
def test_a_command_that_makes_no_sense_is_refused_and_changes_nothing(history, step, complaint):
    """The refusal says what the key is; nothing is recorded."""
    node = lived(history)
    position = node.state.position
    with pytest.raises(ConflictError, match=complaint):
        step(node)
    assert node.state.position == position

"""Soft rules: keys that had better not be chosen are spared while somebody else remains, and come back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_node import FACTS, SmallNode, assert_same
from worlds import SECOND_US, chosen

from apikeyrouter.application.replay import verify
from apikeyrouter.domain import keys
from apikeyrouter.domain.capacity import asked
from apikeyrouter.domain.events import RouteDecided
from apikeyrouter.domain.failures import FailureClass
from apikeyrouter.domain.key_metadata import declaration
from apikeyrouter.domain.models.api_key import ELIGIBLE_STATES
from apikeyrouter.domain.provider_health import Health
from apikeyrouter.domain.sparing import RUNNING_DRY

SOFT_RULES = (
    "model_denied",
    "other_key_pinned",
    "provider_just_failed",
    "provider_recovering",
    "on_trial",
    "running_dry",
)


@pytest.fixture
def node() -> SmallNode:
    """Two providers: a and b of p, x of q."""
    return node_with(a={}, b={}, x={"provider_id": "q"})


def node_with(**declared) -> SmallNode:
    node = SmallNode()
    for provider_id in ("p", "q"):
        node.provider(provider_id)
    for key_id, metadata in declared.items():
        node.key(key_id, **metadata)
    return node


def rests_and_wakes(node: SmallNode, key_id: str) -> None:
    node.fail(node.call(key_id), FailureClass.RateLimited, retry_after_us=SECOND_US)
    node.time_us += SECOND_US
    node.upkeep.wake(node.time_us)


def everybody(node: SmallNode, count: int = 30, **question) -> set[str]:
    """Return whom equal questions choose, each of them sent on its way."""
    streams = [node.call(seed=seed, **question) for seed in range(count)]
    return {node.out[stream].chosen.key_id for stream in streams}


def hard_eligible(node: SmallNode, tried) -> list[str]:
    """Say in plain words who may be chosen at all."""
    state = node.state
    down = {provider_id for provider_id, known in state.health.items() if known.health is Health.Down}
    return [
        key.key_id
        for key in state.keys.values()
        if key.state in ELIGIBLE_STATES
        and key.provider_id not in down
        and key.key_id not in tried
        and state.columns.in_flight[key.row] < declaration(key.metadata).max_concurrency
        and _has_room(node, key.key_id)
    ]


def _has_room(node: SmallNode, key_id: str) -> bool:
    quotas, amounts = node.state.quotas, asked(FACTS)
    return all(
        quotas.accounts.used[row] + amounts[quotas.places[row]] <= quotas.accounts.limit[row]
        for row in quotas.rows_for(key_id, "m")
    )


def unwanted(node: SmallNode, rule: str, avoided) -> set[str]:
    """Say in plain words whom a soft rule would spare."""
    state = node.state
    calls = {key.key_id: int(state.columns.in_flight[key.row]) for key in state.keys.values()}
    busy = {state.keys[key_id].provider_id for key_id, count in calls.items() if count}
    trial = {provider_id for provider_id, known in state.health.items() if known.health is Health.Recovering}
    dry = state.quotas.exhaustion
    whom = {
        "model_denied": lambda key: key.row in state.denied.get("m", ()),
        "other_key_pinned": lambda key: not key.pinned,
        "provider_just_failed": lambda key: key.provider_id in avoided,
        "provider_recovering": lambda key: key.provider_id in busy & trial,
        "on_trial": lambda key: key.on_trial and calls[key.key_id] > 0,
        "running_dry": lambda key: any(
            dry[row] >= RUNNING_DRY for row in state.quotas.rows_for(key.key_id, "m")
        ),
    }[rule]
    return {key.key_id for key in state.keys.values() if whom(key)}


# --- any world ---------------------------------------------------------------------------------------

KEYS = {
    "a": {},
    "b": {"max_concurrency": 2},
    "c": {"rpm": 6},
    "x": {"provider_id": "q"},
    "y": {"provider_id": "q", "rpm": 4},
}
FAILURES = [
    FailureClass.ServerError,
    FailureClass.ServerError,
    FailureClass.RateLimited,
    FailureClass.QuotaExhausted,
    FailureClass.ModelNotAllowed,
    FailureClass.KeyRejected,
]
ends = st.sampled_from(["serve", "leave", *FAILURES])
acts = st.one_of(
    st.tuples(st.just("call"), st.sampled_from(sorted(KEYS))),
    st.tuples(st.just("end"), ends),
    st.tuples(st.just("end"), ends),
    st.tuples(st.just("pin"), st.sampled_from(sorted(KEYS))),
    st.tuples(st.just("wait"), st.sampled_from([1, SECOND_US, 6 * SECOND_US, 3600 * SECOND_US])),
)
some_keys = st.sets(st.sampled_from(sorted(KEYS)), max_size=3)


def act(node: SmallNode, what: str, detail) -> None:
    """Do one thing to a world."""
    if what == "call":
        node.call(detail)
    elif what == "pin":
        pinned = not node.state.keys[detail].pinned
        node.manage(keys.pin, detail, pinned=pinned)
    elif what == "wait":
        node.time_us += detail
        node.upkeep.wake(node.time_us)
    elif node.out:
        stream = min(node.out)
        if isinstance(detail, FailureClass):
            node.fail(stream, detail, retry_after_us=SECOND_US)
        else:
            getattr(node, detail)(stream)


@settings(max_examples=150, deadline=None)
@given(
    history=st.lists(acts, max_size=40),
    tried=some_keys,
    avoided=st.sets(st.sampled_from("pq")),
    seed=st.integers(0, 9),
)
def test_sparing_never_refuses_and_each_rule_leaves_somebody(history, tried, avoided, seed):
    """In any world: who is left is what the rules say one by one, and none of them takes the last key."""
    node = node_with(**KEYS)
    for what, detail in history:
        act(node, what, detail)
    left, spared = spared_by_hand(node, tried, avoided)
    node.call(tried=sorted(tried), avoided=sorted(avoided), seed=seed)
    decision = node.log.recorded[-1].event
    assert isinstance(decision, RouteDecided) == bool(left), "a key that may be chosen is never refused"
    if left:
        assert decision.chosen.key_id in left
        assert decision.eligible == len(left)
        assert {rule: count for rule, count in decision.excluded.items() if rule in SOFT_RULES} == spared
    assert all(node.resolves(exclusion.evidence) for exclusion in decision.exclusions)
    assert_same(node.state, node.refolded())
    assert verify(node.log.read()).identical


def spared_by_hand(node: SmallNode, tried, avoided) -> tuple[set[str], dict[str, int]]:
    """Apply rule after rule; each leaves somebody, or is not applied."""
    left, spared = set(hard_eligible(node, tried)), {}
    for rule in SOFT_RULES:
        gone = left & unwanted(node, rule, avoided)
        if gone and gone != left:
            left -= gone
            spared[rule] = len(gone)
    return left, spared


# --- pinned ------------------------------------------------------------------------------------------


def test_a_pinned_key_serves_everything_while_it_may(node):
    """However loaded it is; the others are spared by name."""
    node.manage(keys.pin, "b", pinned=True)
    assert everybody(node) == {"b"}
    assert node.ask().excluded == {"other_key_pinned": 2}


@pytest.mark.parametrize("failure", [FailureClass.RateLimited, FailureClass.KeyRejected])
def test_the_others_serve_while_a_pinned_key_may_not_be_chosen(node, failure):
    """A pin is a preference: a pinned key that rests or was rejected refuses nobody."""
    node.manage(keys.pin, "b", pinned=True)
    node.fail(node.call("b"), failure, retry_after_us=SECOND_US)
    assert everybody(node) == {"a", "x"}
    assert "other_key_pinned" not in node.ask().excluded


def test_a_pin_lasts_through_a_rest_and_ends_by_hand(node):
    """Back from its rest a pinned key is preferred again; unpinned, it is one of many."""
    node.manage(keys.pin, "b", pinned=True)
    rests_and_wakes(node, "b")
    node.serve(node.call())
    assert everybody(node, 5) == {"b"}
    node.manage(keys.pin, "b", pinned=False)
    assert everybody(node) == {"a", "b", "x"}


def test_several_pinned_keys_share_the_load(node):
    """None of the pinned is preferred to another."""
    for key_id in ("a", "x"):
        node.manage(keys.pin, key_id, pinned=True)
    assert everybody(node) == {"a", "x"}


@pytest.mark.parametrize("spoilt", ["avoided", "on_trial", "running_dry", "recovering"])
def test_pinned_wins_over_whatever_else_speaks_against_a_key(spoilt):
    """Who pins a key has decided; the softer rules are not asked to overrule that."""
    node = node_with(a={"rpm": 30}, b={}, x={"provider_id": "q"})
    if spoilt == "on_trial":
        rests_and_wakes(node, "a")
    elif spoilt == "running_dry":
        run_dry(node, "a")
    elif spoilt == "recovering":
        provider_recovers(node)
    node.manage(keys.pin, "a", pinned=True)
    node.call("a")
    assert chosen(node.ask(avoided=["p"] if spoilt == "avoided" else [])) == "a"


# --- providers ---------------------------------------------------------------------------------------


def provider_recovers(node: SmallNode) -> None:
    """Let the first provider go down and be tried again."""
    for key_id in "ababa":
        node.fail(node.call(key_id), FailureClass.ServerError)
    node.time_us = max([node.state.unwell["p"], *node.state.resting.values()])
    node.upkeep.wake(node.time_us)


def test_a_provider_that_just_failed_this_request_is_asked_last(node):
    """Another provider first; if there is none left, the other keys of the same one."""
    assert everybody(node, avoided=["p"]) == {"x"}
    assert node.ask(avoided=["p"]).excluded == {"provider_just_failed": 2}
    assert everybody(node, avoided=["p"], tried=["x"]) == {"a", "b"}
    assert not node.ask(avoided=["p", "q"]).excluded


def test_a_recovering_provider_has_one_call_out_and_not_one_for_each_key(node):
    """The trial is the provider's, whichever of its keys makes it."""
    provider_recovers(node)
    trial = node.call("a")
    decision = node.ask()
    assert (chosen(decision), decision.excluded) == ("x", {"provider_recovering": 2})
    node.leave(trial)
    assert not node.ask().excluded


def test_a_recovering_provider_is_spared_also_when_none_of_its_keys_had_to_rest():
    """Five failures over three keys rest none of them; the provider's trial counts by itself."""
    node = node_with(a={}, b={}, c={}, x={"provider_id": "q"})
    for key_id in "abcab":
        node.fail(node.call(key_id), FailureClass.ServerError)
    node.time_us = node.state.unwell["p"]
    node.call("a")
    assert node.state.columns.trials == 0
    assert node.ask().excluded == {"provider_recovering": 3}


# --- keys on trial -----------------------------------------------------------------------------------


def test_a_key_on_trial_has_one_call_out_while_others_remain(node):
    """The first is let through, and no second until it has ended; then again one."""
    rests_and_wakes(node, "a")
    assert "on_trial" not in node.ask().excluded
    trial = node.call("a")
    decision = node.ask()
    assert decision.excluded == {"on_trial": 1}
    assert decision.exclusions[0].evidence.stream == trial
    assert everybody(node) == {"b", "x"}
    node.leave(trial)
    assert "on_trial" not in node.ask().excluded


def test_a_key_on_trial_serves_everybody_when_it_is_the_only_one(node):
    """Clients are not refused for the sake of a trial."""
    rests_and_wakes(node, "a")
    assert everybody(node, tried=["b", "x"]) == {"a"}


def test_a_key_that_passed_its_trial_is_spared_no_longer(node):
    """One success is enough."""
    rests_and_wakes(node, "a")
    node.serve(node.call("a"))
    node.call("a")
    assert not node.ask().excluded
    assert "a" in everybody(node, 200)


def test_all_on_trial_spares_nobody(node):
    """When every key has just come back and is busy, all go on."""
    for key_id in ("a", "b", "x"):
        rests_and_wakes(node, key_id)
    for key_id in ("a", "b", "x"):
        node.call(key_id)
    assert not node.ask().excluded


# --- keys that run dry -------------------------------------------------------------------------------


def run_dry(node: SmallNode, key_id: str) -> None:
    """Ask for so much so fast that the key's minute will not last."""
    for _ in range(20):
        node.time_us += SECOND_US // 2
        node.serve(node.call(key_id))


def test_a_key_that_runs_dry_is_spared_while_others_have_room_and_comes_back():
    """It is used when it is the only one, and chosen freely again when the demand is over."""
    node = node_with(a={"rpm": 30}, b={"rpm": 3000})
    run_dry(node, "a")
    decision = node.ask()
    assert (chosen(decision), decision.excluded) == ("b", {"running_dry": 1})
    assert decision.exclusions[0].evidence.stream == f"request-{node.requests}"
    assert chosen(node.ask(tried=["b"])) == "a"
    node.time_us += 3600 * SECOND_US
    node.serve(node.call("b"))
    assert not node.ask().excluded
    assert "a" in everybody(node, 20)


# --- keys that were denied a model -------------------------------------------------------------------


def test_a_key_that_was_denied_a_model_is_asked_last_for_it():
    """It serves other models; and this one again when nobody else can."""
    node = node_with(a={}, b={})
    node.fail(node.call("a"), FailureClass.ModelNotAllowed)
    assert everybody(node) == {"b"}
    assert node.ask().excluded == {"model_denied": 1}
    assert chosen(node.ask(tried=["b"])) == "a"
    node.serve(node.call("a"))
    assert not node.ask().excluded

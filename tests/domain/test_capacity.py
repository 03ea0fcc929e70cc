"""Whether a request fits: decided account by account, and told as an instant if it does not fit now."""

from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import SECOND_US, World

from apikeyrouter.domain.capacity import asked, capacity_of, refused_members, reserved_for
from apikeyrouter.domain.deferral import until_capacity
from apikeyrouter.domain.events import (
    QuotaLimitLearned,
    RequestReleased,
    RouteDecided,
    RouteRefused,
    quota_stream,
)
from apikeyrouter.domain.output_bounds import USUAL_OUTPUT_TOKENS
from apikeyrouter.domain.pools import pool_for
from apikeyrouter.domain.routing import decide
from apikeyrouter.domain.state import RouterState

MODELS = ("m", "n")
HOUR_US = 3600 * SECOND_US

limit_names = st.sampled_from(
    ("rps", "rpm", "rpd", "tpm", "itpm", "otpd", "rpm:m", "tpm:m|n", "max_concurrency")
)
declarations = st.dictionaries(limit_names, st.integers(1, 6), max_size=4)
scales = {"t": 700, "i": 700, "o": 100}


def metadata(declared: dict[str, int], group: str | None, window: str | None) -> dict[str, object]:
    """Declare limits that a few requests of about a thousand tokens fill."""
    limits = {name: amount * scales.get(name[0], 1) for name, amount in declared.items()}
    said = {"quota_group": group, "quota_window": window}
    return limits | {name: value for name, value in said.items() if value}


@st.composite
def worlds(draw) -> World:
    """A few keys with limits, and traffic that has used some of them."""
    world = World()
    world.provider()
    for number, declared in enumerate(draw(st.lists(declarations, min_size=1, max_size=4))):
        group, window = draw(st.sampled_from((None, None, "g"))), draw(st.sampled_from((None, "bucket")))
        world.key(f"k{number}", **metadata(declared, group, window))
    steps = st.tuples(st.sampled_from(MODELS), st.integers(1, 900), st.integers(0, 40 * SECOND_US))
    for number, (model, tokens, passed_us) in enumerate(draw(st.lists(steps, max_size=14))):
        world.now_us += passed_us
        decision = decide(world.state, world.question(model, input_tokens=tokens, seed=number))
        if isinstance(decision, RouteDecided):
            world.append(f"request-{number}", decision)
    return world


def fits_by_hand(world: World, key_id: str, question) -> bool:
    """Look at every account of a key, one by one."""
    quotas, amounts = world.state.quotas, asked(question.facts)
    return all(
        quotas.accounts.used_now(row) + amounts[quotas.places[row]] <= quotas.accounts.limit[row]
        for row in quotas.rows_for(key_id, question.facts.model)
    )


@given(world=worlds(), model=st.sampled_from(MODELS), tokens=st.integers(1, 1500))
@settings(max_examples=150, deadline=None)
def test_a_key_is_refused_for_its_quota_exactly_if_an_account_has_not_enough_left(world, model, tokens):
    """Neither is one passed over that fits, nor one taken that does not."""
    question = world.question(model, input_tokens=tokens)
    world.state.advance(question.at_us)
    pool = pool_for(world.state, question.facts)
    capacity = capacity_of(world.state, pool, question.facts)
    refused = set() if capacity is None else {int(member) for member in refused_members(capacity)}
    by_hand = {
        index
        for index, member in enumerate(pool.members)
        if not fits_by_hand(world, member.key.key_id, question)
    }
    assert refused == by_hand
    decision = decide(world.state, question)
    if isinstance(decision, RouteDecided):
        key_id = decision.chosen.key_id
        assert fits_by_hand(world, key_id, question)
        assert decision.reserved == reserved_for(world.state, key_id, model, question.facts)
        assert len(decision.reserved) == len(world.state.quotas.rows_for(key_id, model))


@given(world=worlds(), model=st.sampled_from(MODELS), tokens=st.integers(1, 1500))
@settings(max_examples=150, deadline=None)
def test_a_refusal_names_the_first_instant_at_which_it_would_be_served(world, model, tokens):
    """If nothing else happens: a moment earlier it is refused, and then it is served."""
    refused = decide(world.state, world.question(model, input_tokens=tokens))
    if not isinstance(refused, RouteRefused) or "max_concurrency" in refused.excluded:
        return
    if refused.retry_at_us is None:
        world.now_us += 40 * 24 * HOUR_US
        assert isinstance(decide(world.state, world.question(model, input_tokens=tokens)), RouteRefused)
        return
    exact_us = SECOND_US if world.state.quotas.accounts.buckets else 1  # buckets reckon in millionths
    world.now_us = max(refused.retry_at_us - exact_us, world.now_us)
    assert isinstance(decide(world.refolded(), world.question(model, input_tokens=tokens)), RouteRefused)
    world.now_us = refused.retry_at_us
    assert isinstance(decide(world.state, world.question(model, input_tokens=tokens)), RouteDecided)


def released(world: World) -> RouterState:
    """Return how the world would be if all calls under way gave back what they hold."""
    state = world.refolded()
    for stream, request in list(state.open_requests.items()):
        end = RequestReleased(at_us=world.now_us, attempt=1, key_id=request.key_id or "", trigger="left")
        state.evolve(state.position + 1, stream, request.version + 1, end)
    return state


@given(world=worlds(), model=st.sampled_from(MODELS), tokens=st.integers(1, 1500), wait_s=st.integers(0, 90))
@settings(max_examples=150, deadline=None)
def test_a_refused_request_waits_exactly_if_waiting_can_help(world, model, tokens, wait_s):
    """Time gives it room before its deadline, or those who hold what it lacks may do so."""
    question = world.question(model, input_tokens=tokens)
    refused = decide(world.state, question)
    if not isinstance(refused, RouteRefused):
        return
    deferred = until_capacity(world.state, refused, wait_s * SECOND_US)
    in_time = refused.retry_at_us is not None and refused.retry_at_us <= question.at_us + wait_s * SECOND_US
    may_be_freed = isinstance(decide(released(world), question), RouteDecided)
    assert (deferred is not None) == (in_time or may_be_freed)


def test_who_sets_no_bound_is_taken_to_want_the_usual():
    """Without max_tokens a reservation still holds something for the answer."""
    facts = World().question().facts
    assert asked(facts) == (1, 1100, 1000, 100)
    unbounded = World().question().facts.__class__(operation="chat", model="m", input_tokens_bound=10)
    assert asked(unbounded) == (1, 10 + USUAL_OUTPUT_TOKENS, 10, USUAL_OUTPUT_TOKENS)


def learn(world: World, key_id: str, amount: int) -> None:
    world.append(
        quota_stream(f"key-{key_id}/requests/minute/m"),
        QuotaLimitLearned(
            at_us=world.now_us,
            key_id=key_id,
            dimension="requests",
            unit="minute",
            limit=amount,
            models=("m",),
            source="learned_from_headers",
        ),
    )


def test_a_learned_limit_binds_from_the_next_decision_on():
    """A pool that was kept from before does not hide it."""
    world = World()
    world.provider()
    world.key("a")
    assert isinstance(decide(world.state, world.question()), RouteDecided)
    learn(world, "a", 1)
    first = decide(world.state, world.question())
    assert [tuple(one) for one in (first.reserved[0].__struct_fields__,)] == [("account", "amount")]
    world.append("request-1", first)
    refused = decide(world.state, world.question())
    assert isinstance(refused, RouteRefused)
    assert refused.excluded == {"quota": 1}
    assert refused.retry_at_us == world.now_us + 60 * SECOND_US
    assert refused.exclusions[0].evidence.stream == "request-1"

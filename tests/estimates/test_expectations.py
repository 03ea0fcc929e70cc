"""What a request will probably consume, learned from what others did."""

from collections import Counter

import pytest
from estimate_givens import completed, facts
from hypothesis import given
from hypothesis import strategies as st

from apikeyrouter.domain import expectations
from apikeyrouter.domain.expectations import HALF_LIFE_US, Expectations

NOW_US = 1_790_000_000_000_000
HOUR_US = 3_600_000_000


def learned(*answers: int, client_id: str | None = None, at_us: int = NOW_US, **changes) -> Expectations:
    known = Expectations()
    for output_tokens in answers:
        known.observe(
            "m", facts(client_id=client_id, **changes), completed(at_us, output_tokens=output_tokens)
        )
    return known


def test_without_history_the_prior_holds():
    """A quarter of the bytes, and 256 tokens out; never more than the caller allows."""
    assert Expectations().of("m", facts(), NOW_US) == (250, 0, 256)
    assert Expectations().of("m", facts(output_tokens_bound=100), NOW_US) == (250, 0, 100)
    assert Expectations().of("m", facts(output_tokens_bound=0), NOW_US) == (250, 0, 256)
    assert Expectations().of("m", facts(operation="embeddings", output_tokens_bound=0), NOW_US)[2] == 0


def test_many_answers_outweigh_the_prior():
    """The mean of what was seen, up to a rest of the prior; half way after as many as the prior weighs."""
    assert learned(*[1_000] * 4).of("m", facts(), NOW_US).output_tokens == (1_000 + 256) // 2
    assert learned(*[1_000] * 400).of("m", facts(), NOW_US).output_tokens in range(985, 1_001)
    assert learned(*[1_000] * 400).of("m", facts(), NOW_US).input_tokens in range(295, 301)


def test_a_client_has_an_expectation_of_its_own():
    """A client that wants long answers is known for it; a new one is taken to be like the others."""
    known = learned(*[100] * 50)
    for _ in range(50):
        known.observe("m", facts(client_id="verbose"), completed(NOW_US, output_tokens=2_000))
    verbose, new, nobody = (
        known.of("m", facts(client_id=client_id), NOW_US).output_tokens
        for client_id in ("verbose", "new", None)
    )
    assert verbose > 1_800
    assert new == nobody
    assert 900 < nobody < 1_100
    assert known.learned("m", facts(client_id="verbose"), NOW_US) == pytest.approx((50.0, 100.0))


def test_other_models_say_nothing():
    """Each model is learned by itself."""
    assert learned(*[3_000] * 50).of("other", facts(), NOW_US).output_tokens == 256


def test_pictures_are_learned_apart():
    """The bytes of a picture say little of its tokens, so they do not spoil what texts are known for."""
    known = learned(*[700] * 50, needs=("vision",), body_bytes=1_000_000, input_tokens_bound=1_000_000)
    assert known.of("m", facts(), NOW_US) == (250, 0, 256)
    assert known.of("m", facts(needs=("vision",), body_bytes=900_000), NOW_US).input_tokens < 1_128


def test_answers_at_once_count_each():
    """Four answers at once are expected to be four times as long as one."""
    known = learned(*[4_000] * 100, choices=4, output_tokens_bound=0)
    one = known.of("m", facts(output_tokens_bound=0), NOW_US).output_tokens
    four = known.of("m", facts(output_tokens_bound=0, choices=4), NOW_US).output_tokens
    assert one in range(960, 1_001)
    assert abs(four - 4 * one) <= 2


def test_cached_input_is_expected_again():
    """A share of the input that the provider had cached before is expected to be cached next time."""
    known = Expectations()
    for _ in range(200):
        known.observe("m", facts(), completed(NOW_US, input_tokens=400, cached_input_tokens=300))
    expected = known.of("m", facts(), NOW_US)
    assert 0.7 < expected.cached_tokens / expected.input_tokens <= 0.75


def test_what_was_long_ago_counts_less():
    """After one half-life half of the answers are left, after twenty the prior is back."""
    known = learned(*[2_000] * 8)
    assert known.learned("m", facts(), NOW_US + HALF_LIFE_US).of_model == pytest.approx(4.0, rel=0.02)
    assert known.of("m", facts(), NOW_US + 20 * HALF_LIFE_US).output_tokens == 256
    assert known.of("m", facts(), NOW_US + 5_000 * HALF_LIFE_US).output_tokens == 256


def test_a_year_later_it_still_learns():
    """Numbers do not grow without end: after any silence new answers count as before."""
    known = learned(*[2_000] * 8)
    later_us = NOW_US + 365 * 24 * HOUR_US
    for _ in range(100):
        known.observe("m", facts(), completed(later_us, output_tokens=50))
    assert known.of("m", facts(), later_us).output_tokens in range(50, 60)


def test_names_that_clients_choose_fill_no_memory(monkeypatch):
    """Who was not heard of for longest is forgotten; who keeps coming stays."""
    monkeypatch.setattr(expectations, "MOST_MODELS", 3)
    monkeypatch.setattr(expectations, "MOST_CLIENTS", 3)
    known = Expectations()
    for number in range(20):
        for name in ("faithful", f"passing-{number}"):
            known.observe(name, facts(client_id=name), completed(NOW_US, output_tokens=1_000))
    assert (len(known._models), len(known._clients)) == (3, 3)
    assert known.learned("faithful", facts(client_id="faithful"), NOW_US) == pytest.approx((20.0, 20.0))
    assert known.learned("passing-0", facts(client_id="passing-0"), NOW_US) == (0.0, 0.0)


REQUESTS = st.lists(
    st.tuples(
        st.integers(0, 3 * HALF_LIFE_US),
        st.sampled_from(["a", "b", None]),
        st.integers(0, 5_000),
        st.integers(0, 50_000),
        st.integers(0, 60_000),
        st.integers(1, 5),
    ),
    max_size=40,
)


def observe(known: Expectations, request) -> None:
    after_us, client_id, output_tokens, tokens, cached, choices = request
    told = completed(
        NOW_US + after_us, output_tokens=output_tokens, input_tokens=tokens, cached_input_tokens=cached
    )
    known.observe("m", facts(client_id=client_id, choices=choices), told)


def fold(requests) -> Expectations:
    known = Expectations()
    for request in requests:
        observe(known, request)
    return known


@given(requests=REQUESTS, bound=st.integers(0, 9_000), size=st.integers(1, 9_000), extra=st.integers(0, 900))
def test_no_expectation_is_above_its_bound(requests, bound, size, extra):
    """Whatever providers told, input and output stay within what is reserved, and cached within the input."""
    wanted = facts(body_bytes=size, input_tokens_bound=size + extra, output_tokens_bound=bound, client_id="a")
    expected = fold(requests).of("m", wanted, NOW_US + 3 * HALF_LIFE_US)
    assert 0 <= expected.cached_tokens <= expected.input_tokens <= size + extra
    assert expected.output_tokens >= 0
    assert not bound or expected.output_tokens <= bound


@given(requests=REQUESTS, asked_us=st.lists(st.integers(0, 400 * HALF_LIFE_US), min_size=40, max_size=40))
def test_questions_leave_no_trace(requests, asked_us):
    """A fold without questions and one with questions in between end alike, to the last bit."""
    quiet, asked = fold(requests), Expectations()
    for request, at_us in zip(requests, asked_us, strict=False):
        asked.of("m", facts(client_id="a"), NOW_US + at_us)
        asked.learned("m", facts(client_id="stranger"), NOW_US + at_us)
        observe(asked, request)
    assert (quiet._models, quiet._clients) == (asked._models, asked._clients)
    assert quiet._landmark_us == asked._landmark_us


@given(requests=REQUESTS)
def test_without_decay_it_is_the_mean(requests):
    """At one instant the sums are those of a plain count, for the model and for each client."""
    known = fold([(0, *rest) for _, *rest in requests])
    answers: Counter = Counter()
    for _, client_id, *_, choices in requests:
        answers[client_id] += choices
    for client_id in ("a", "b"):
        seen = known.learned("m", facts(client_id=client_id), NOW_US)
        assert seen.of_client == pytest.approx(answers[client_id])
        assert seen.of_model == pytest.approx(sum(answers.values()))

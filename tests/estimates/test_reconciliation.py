"""How estimates compare with what came of them."""

from decimal import Decimal

from estimate_givens import Shop, facts
from hypothesis import given
from hypothesis import strategies as st
from worlds import START_US

from apikeyrouter.domain import reconciliation
from apikeyrouter.domain.events import (
    AttemptFailed,
    Candidate,
    EventRef,
    RequestCancelled,
    RequestFailed,
    RequestReleased,
    RouteDecided,
)
from apikeyrouter.domain.objectives import policy_of
from apikeyrouter.domain.reconciliation import Accuracy, Reconciliation, Source
from apikeyrouter.interfaces.estimate_views import accuracy_view

AMOUNT = st.none() | st.integers(0, 10**12)


def decision(bound: int | None, expected: int | None, model: str = "m") -> RouteDecided:
    chosen = Candidate(
        key_id="k",
        provider_id="p",
        total=1.0,
        cost=1.0,
        reliability=1.0,
        fairness=1.0,
        latency=1.0,
        quality=1.0,
        in_flight=0,
        cost_bound_nano_usd=bound,
        state_ref=EventRef("key-k", 1),
        offer_ref=EventRef("catalogue", 1),
        expected_cost_nano_usd=expected,
    )
    return RouteDecided(
        at_us=START_US,
        rules=4,
        as_of=1,
        seed=1,
        attempt=1,
        facts=facts(model=model),
        policy=policy_of(None),
        chosen=chosen,
        eligible=1,
    )


def measured(shop: Shop) -> Accuracy:
    return shop.state.reconciliation.by_place["openai", "m"][Source.Measured]


def bounded(shop: Shop) -> Accuracy:
    return shop.state.reconciliation.by_place["openai", "m"][Source.Bounded]


class TestEveryEnding:
    def test_an_answer_that_the_provider_measured(self):
        """Bound, expected and actual stand side by side."""
        shop = Shop()
        decided = shop.serve(settled={"cost_nano_usd": 1_000_000}).chosen
        told = measured(shop)
        assert (told.settlements, told.foreseen, told.above_bound) == (1, 1, 0)
        assert told.bound_nano_usd == decided.cost_bound_nano_usd
        assert told.expected_nano_usd == decided.expected_cost_nano_usd
        assert told.actual_nano_usd == 1_000_000
        assert told.signed_error_nano_usd == 1_000_000 - decided.expected_cost_nano_usd

    def test_more_than_the_bound_is_seen(self):
        """A provider that bills above what it can have produced is found out."""
        shop = Shop()
        _, decided = shop.begin()
        shop.serve(settled={"cost_nano_usd": decided.chosen.cost_bound_nano_usd})
        shop.serve(settled={"cost_nano_usd": decided.chosen.cost_bound_nano_usd + 1})
        assert (measured(shop).settlements, measured(shop).above_bound) == (2, 1)

    def test_an_answer_without_usage(self):
        """It is settled at its bound, and counted apart."""
        shop = Shop()
        shop.serve(settled={"usage_source": "bounded", "cost_nano_usd": 5})
        assert list(shop.state.reconciliation.by_place["openai", "m"]) == [Source.Bounded]

    def test_a_model_without_a_price(self):
        """It is counted; there is nothing to compare."""
        shop = Shop()
        shop.serve(settled={"cost_nano_usd": None})
        assert (measured(shop).settlements, measured(shop).unpriced) == (1, 1)
        assert measured(shop).bound_nano_usd == 0

    def test_a_client_that_leaves(self):
        """What was produced by then is a settlement as well."""
        shop = Shop()
        stream, _ = shop.begin()
        left = {"key_id": "k", "provider_id": "openai", "phase": "streaming", "elapsed_us": 1}
        told = {"input_tokens": 1, "output_tokens": 1, "response_bytes": 1, "cost_nano_usd": 7}
        shop.append(
            stream,
            RequestCancelled(at_us=shop.now_us, attempt=1, usage_source="provider", **left, **told),
        )
        assert measured(shop).actual_nano_usd == 7

    def test_a_failed_call_that_may_be_charged_for(self):
        """It counts at its bound; one that cost nothing is no settlement, nor is the end of the request."""
        shop = Shop()
        stream, _ = shop.begin()
        failed = {"key_id": "k", "provider_id": "openai", "failure": "timeout", "effect": "none"}
        free = AttemptFailed(at_us=shop.now_us, attempt=1, elapsed_us=1, **failed)
        shop.append(stream, free)
        assert not shop.state.reconciliation.by_place
        stream, _ = shop.begin()
        shop.append(
            stream,
            AttemptFailed(at_us=shop.now_us, attempt=1, elapsed_us=1, charged_nano_usd=9, **failed),
        )
        shop.append(stream, RequestFailed(at_us=shop.now_us, attempts=1, failure="timeout", status=504))
        assert (bounded(shop).settlements, bounded(shop).actual_nano_usd) == (1, 9)

    def test_a_process_that_died(self):
        """What it may have sent counts at its bound; what it had not sent is no settlement."""
        shop = Shop()
        for charged in (0, 11):
            stream, _ = shop.begin()
            shop.append(
                stream,
                RequestReleased(
                    at_us=shop.now_us,
                    attempt=1,
                    key_id="k",
                    trigger="process_died",
                    charged_nano_usd=charged,
                ),
            )
        assert (bounded(shop).settlements, bounded(shop).actual_nano_usd) == (1, 11)


SETTLEMENTS = st.lists(
    st.tuples(AMOUNT, AMOUNT, AMOUNT, st.sampled_from(["provider", "bounded"])), max_size=30
)


@given(settlements=SETTLEMENTS)
def test_the_sums_are_those_of_a_plain_count(settlements):
    """By source: counts, sums, and errors of those that an expected cost was told for."""
    fold = Reconciliation()
    for bound, expected, actual, source in settlements:
        fold.settle(decision(bound, expected), source, actual)
    for source, name in ((Source.Measured, "provider"), (Source.Bounded, "bounded")):
        mine = [(b, e, a) for b, e, a, told in settlements if told == name]
        priced = [(b, e, a) for b, e, a in mine if a is not None and b is not None]
        errors = [a - e for _, e, a in priced if e is not None]
        told = fold.by_place.get(("p", "m"), {}).get(source, Accuracy())
        assert (told.settlements, told.unpriced) == (len(mine), len(mine) - len(priced))
        assert told.bound_nano_usd == sum(b for b, _, _ in priced)
        assert told.actual_nano_usd == sum(a for _, _, a in priced)
        assert told.above_bound == sum(a > b for b, _, a in priced)
        assert (told.foreseen, told.signed_error_nano_usd) == (len(errors), sum(errors))
        assert told.absolute_error_nano_usd == sum(map(abs, errors))


def test_names_that_clients_choose_fill_no_memory(monkeypatch):
    """The oldest is dropped."""
    monkeypatch.setattr(reconciliation, "MOST_PLACES", 2)
    fold = Reconciliation()
    for model in ("a", "b", "c"):
        fold.settle(decision(1, 1, model), "provider", 1)
    assert list(fold.by_place) == [("p", "b"), ("p", "c")]


def test_what_people_see():
    """Dollars, means to the nano-dollar, and no share where nothing was priced."""
    shop = Shop()
    expected = shop.serve(settled={"cost_nano_usd": 2_000_000}).chosen.expected_cost_nano_usd
    shop.serve(settled={"cost_nano_usd": None, "usage_source": "bounded"})
    sure, unsure = accuracy_view(shop.state)
    assert (sure.source, unsure.source) == ("measured", "bounded")
    assert sure.actual == Decimal("0.002")
    assert sure.mean_signed_error == Decimal(2_000_000 - expected) / 10**9
    assert sure.mean_absolute_error == abs(sure.mean_signed_error)
    assert sure.share_above_bound == 0
    assert unsure.share_above_bound is None
    assert unsure.mean_absolute_error is None

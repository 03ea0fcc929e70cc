"""Which prices are in force: a book stays until another is adopted, and every settlement tells its prices."""

import asyncio
import threading
from pathlib import Path

import msgspec
import pytest
from book_givens import FIRST, PLACE, SECOND, USD, FarProvider, at_us, book, entry, period, prices

from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.application.replay import verify
from apikeyrouter.domain import settlement
from apikeyrouter.domain.events import (
    CATALOGUE_STREAM,
    ClockSteppedBack,
    EventRef,
    KeyRegistered,
    ModelOffer,
    NewEvent,
    PriceBookAdopted,
    ProviderRegistered,
    RequestCancelled,
    RequestCompleted,
    RequestFacts,
    RouteDecided,
)
from apikeyrouter.domain.failures import Failure, FailureClass
from apikeyrouter.domain.interfaces.provider_adapter import Usage
from apikeyrouter.domain.models.system_error import (
    ConflictError,
    InvalidRequestError,
    NoEligibleKeysError,
    NotFoundError,
)
from apikeyrouter.domain.objectives import policy_of
from apikeyrouter.domain.price_book import PriceBook, price_for
from apikeyrouter.domain.pricing import cost_bound_nano_usd, cost_nano_usd
from apikeyrouter.domain.questions import RouteQuestion
from apikeyrouter.domain.routing import decide
from apikeyrouter.domain.state import RouterState

QUESTION = {"model": "m", "messages": [{"role": "user", "content": "Hello!"}]}


async def furnished(router, provider=None) -> FarProvider:
    provider = provider or FarProvider()
    await router.register_provider("far", provider)
    await router.register_key("sk-of-the-far-provider", "far")
    return provider


def events(log: str, kind=object) -> list:
    return [recorded.event for recorded in SqliteReader(Path(log)).read() if isinstance(recorded.event, kind)]


async def cost(router, **changes) -> int | None:
    """Ask, and return the cost in dollars per million."""
    amount = (await router.route({**QUESTION, **changes})).cost.amount
    return None if amount is None else int(amount * 1_000_000)


class TestABookStays:
    async def test_a_fresh_log_adopts_what_is_installed(self, opened, log):
        """The first start writes the whole book into the log, once."""
        for _ in range(2):
            async with opened() as router:
                await router.get_state_summary()
        [adopted] = events(log, PriceBookAdopted)
        assert (adopted.actor, adopted.source_version, adopted.sha256) == ("first_start", "1", FIRST.sha256)

    async def test_what_is_recorded_while_a_book_is_written_does_not_look_like_a_clock_set_back(
        self, opened, log, packaged, monkeypatch
    ):
        """A book is adopted when it is recorded: others may have been faster meanwhile."""
        writing, others_are_done = threading.Event(), threading.Event()
        written = PriceBook.adopted

        def slowly(book, **told):
            writing.set()
            assert others_are_done.wait(10)
            return written(book, **told)

        async with opened() as router:
            await furnished(router)
            packaged(SECOND)
            monkeypatch.setattr(PriceBook, "adopted", slowly)
            adopting = asyncio.create_task(router._node.prices.adopt(actor="test"))
            assert await asyncio.to_thread(writing.wait, 10)
            await router.register_key("sk-of-somebody-else", "far")
            others_are_done.set()
            await adopting
        assert events(log, ClockSteppedBack) == []
        times = [event.at_us for event in events(log)]
        assert times == sorted(times)

    async def test_an_upgrade_changes_no_price(self, opened, log, packaged):
        """The log's book stays in force under another package, until it is adopted by an act."""
        async with opened() as router:
            await furnished(router)
            assert await cost(router) == 100 * 2 + 10 * 10
        packaged(SECOND)
        async with opened() as router:
            await router.register_provider("far", FarProvider())
            assert await cost(router) == 300
            assert (await router.cost_controller.prices.differences())["counts"] == {"added": 1, "changed": 1}
            adopted = await router.cost_controller.prices.adopt(SECOND.sha256)
            assert adopted["version"] == "2"
            assert await cost(router) == 100 * 3 + 10 * 10
            assert (await router.cost_controller.prices.differences())["same"]
        told = [(end.price_book, end.cost_nano_usd) for end in events(log, RequestCompleted)]
        assert told == [(FIRST.sha256, 300_000), (FIRST.sha256, 300_000), (SECOND.sha256, 400_000)]

    async def test_decisions_are_made_again_with_the_prices_of_their_time(self, opened, log, packaged):
        """Re-execution finds every book in the log, whatever is installed, and gives the same bytes."""
        async with opened() as router:
            await furnished(router)
            await router.route(QUESTION, "cost")
            packaged(SECOND)
            await router.cost_controller.prices.adopt()
            await router.route(QUESTION, "cost")
            await router.cost_controller.prices.set(
                "far", "m", {"input_usd_per_mtok": 7, "output_usd_per_mtok": 8}
            )
            await router.route(QUESTION, "cost")
        packaged(book())
        bounds = [decided.chosen.cost_bound_nano_usd for decided in events(log, RouteDecided)]
        assert len(set(bounds)) == 3
        checked = verify(SqliteReader(Path(log)).read())
        assert (checked.decisions, checked.identical) == (3, True)

    async def test_adopting_is_refused_where_it_is_not_what_was_looked_at(self, opened, packaged):
        """Another hash than the installed book's, or a book that is in force already, is a conflict."""
        async with opened() as router:
            book_prices = router.cost_controller.prices
            with pytest.raises(ConflictError, match="in force already"):
                await book_prices.adopt()
            packaged(SECOND)
            with pytest.raises(ConflictError, match=SECOND.sha256):
                await book_prices.adopt(FIRST.sha256)


class TestWhatASettlementTells:
    async def test_the_parts_and_the_prices(self, opened, log):
        """Counts of the parts, the prices of each, who said them, and the hash of the book."""
        async with opened() as router:
            provider = await furnished(router)
            provider.usage = Usage(100, 10, cached_input_tokens=60, reasoning_tokens=4)
            assert await cost(router) == 40 * 2 + 60 * 1 + 6 * 10 + 4 * 20
        [end] = events(log, RequestCompleted)
        assert (end.cached_input_tokens, end.reasoning_tokens) == (60, 4)
        assert end.prices_nano_usd_per_million == prices(2, 10, cached_input=1, reasoning=20)
        assert (end.price_source, end.price_book) == ("book", FIRST.sha256)

    async def test_no_price_is_no_cost(self, opened, log):
        """A model that nobody prices costs an unknown amount, never nothing."""
        async with opened() as router:
            await furnished(router)
            assert await cost(router, model="nobody-knows") is None
        [end] = events(log, RequestCompleted)
        assert end.cost_nano_usd is None
        assert end.prices_nano_usd_per_million is end.price_source is end.price_book is None

    async def test_what_an_administrator_says_outranks_the_book(self, opened, log):
        """A price that was set counts before the provider's list, that before the book."""
        offer = ModelOffer(model="m", input_nano_usd_per_mtok=5 * USD, output_nano_usd_per_mtok=5 * USD)
        async with opened() as router:
            await furnished(router, FarProvider([offer, ModelOffer(model="n")]))
            own = router.cost_controller.prices
            assert await cost(router) == 100 * 5 + 10 * 5
            await own.set(
                "far", "m", {"input_usd_per_mtok": "0.5", "output_usd_per_mtok": 1, "request_usd": "0.001"}
            )
            assert await cost(router) == 50 + 10 + 1000
            await router.register_provider("far", FarProvider([offer]), overwrite=True)
            assert await cost(router) == 50 + 10 + 1000
            await own.set("far", "m", None)
            assert await cost(router) == 550
        assert [end.price_source for end in events(log, RequestCompleted)] == [
            "offer",
            "administrator",
            "administrator",
            "offer",
        ]

    async def test_a_listed_model_without_a_price_has_that_of_the_book(self, opened):
        """Listing a model without prices does not make it unpriced."""
        async with opened() as router:
            await furnished(router, FarProvider([ModelOffer(model="m")]))
            assert await cost(router) == 300

    @pytest.mark.parametrize(
        ("error", "given"),
        [
            (NotFoundError, ("nobody", "m", {"input_usd_per_mtok": 1, "output_usd_per_mtok": 1})),
            (NotFoundError, ("far", "m", None)),
            (InvalidRequestError, ("far", "m", {"input_usd_per_mtok": 1})),
            (InvalidRequestError, ("far", "m", {"input_usd_per_mtok": "-1", "output_usd_per_mtok": 1})),
            (InvalidRequestError, ("far", "m", {"input": 1, "output": 1})),
            (InvalidRequestError, ("far", "", {"input_usd_per_mtok": 1, "output_usd_per_mtok": 1})),
        ],
    )
    async def test_an_impossible_price_is_refused(self, opened, error, given):
        """Unknown providers and fields, half and negative prices, and nothing to withdraw."""
        async with opened() as router:
            await furnished(router)
            with pytest.raises(error):
                await router.cost_controller.prices.set(*given)


class TestTheDecision:
    async def test_a_bound_is_told_before_the_call(self, opened, log):
        """The decision's bound covers what the settlement charges."""
        async with opened() as router:
            await furnished(router)
            await router.route({**QUESTION, "max_tokens": 50})
        [decided], [end] = events(log, RouteDecided), events(log, RequestCompleted)
        assert decided.chosen.cost_bound_nano_usd == (decided.facts.input_tokens_bound * 2 + 50 * 20) * 1000
        assert end.cost_nano_usd <= decided.chosen.cost_bound_nano_usd

    async def test_a_limit_on_cost_heeds_the_book(self, opened):
        """A constraint that no price meets refuses, though no administrator set any price."""
        async with opened() as router:
            await furnished(router)
            dear = {"primary": "cost", "constraints": {"max_cost_per_request": "0.0000001"}}
            with pytest.raises(NoEligibleKeysError):
                await router.route(QUESTION, dear)

    def test_prices_change_on_their_day(self):
        """A pool that was built before the day does not keep the old price, and no event is needed."""
        dated = book(entry("m", period(prices(2, 2)), period(prices(1, 1), since="2026-06-01")))
        before, after = at_us("2026-05-31"), at_us("2026-06-01")
        state = _state_with(dated, before)
        assert [_bound(state, at) for at in (before, after - 1, after)] == [4000, 4000, 2000]

    def test_a_long_input_is_bounded_by_its_tier(self):
        """Below the length the dearer prices do not count; from it on they do."""
        tiered = book(entry("m", period(prices(2, 2), above_1000=prices(4, 4))))
        state = _state_with(tiered, 1)
        assert _bound(state, 1, input_tokens=1000) == 1000 * 2 + 1000 * 2
        assert _bound(state, 1, input_tokens=1001) == 1001 * 4 + 1000 * 4

    def test_a_tier_that_is_cheaper_does_not_bound_what_may_fall_short_of_it(self):
        """A request that is bounded above the length may turn out shorter, and dearer."""
        tiered = book(entry("m", period(prices(4, 4), above_1000=prices(1, 1))))
        assert _bound(_state_with(tiered, 1), 1, input_tokens=1001) == 1001 * 4 + 1000 * 4
        price = price_for(tiered, *PLACE, "m", 1)
        assert cost_nano_usd(price, Usage(1000, 1000)) == 8_000_000
        assert cost_bound_nano_usd(price, 1001, 1000) == 8_004_000

    def test_a_price_of_the_request_itself_is_within_the_bound(self):
        """What is charged beside the tokens is reserved beside them."""
        known = book(entry("m", period(prices(2, 2, request=5))))
        assert _decided(_state_with(known, 1), 1).chosen.cost_bound_nano_usd == 4_000_000 + 5_000

    def test_a_damaged_book_in_the_log_prices_nothing(self):
        """The fold goes on, and what it cannot believe it does not use."""
        state = _state_with(FIRST, 1, sha256="0" * 64)
        assert state.price_book is None
        assert state.price_book_ref == EventRef(CATALOGUE_STREAM, 2)
        assert _bound(state, 1) is None


class TestEveryEnd:
    """However a request ends, it tells its prices."""

    def test_a_client_that_left_and_a_stream_that_broke(self):
        """Both charge by the price that held when the key was chosen."""
        dated = book(entry("m", period(prices(2, 2)), period(prices(1, 1), since="2026-06-01")))
        now_us = at_us("2026-05-31")
        state = _state_with(dated, now_us)
        decision, offer = _decided(state, now_us), state.providers["far"].models.get("m")
        state.advance(at_us("2026-06-02"))
        left = settlement.cancelled(
            decision, offer, Usage(10, 5), at_us=state.latest_us, elapsed_us=1, response_bytes=9
        )
        broken = settlement.broken_off(
            decision,
            offer,
            Failure(failure_class=FailureClass.ConnectFailed),
            Usage(10, 5, reasoning_tokens=2),
            at_us=state.latest_us,
            response_bytes=9,
        )
        assert isinstance(left, RequestCancelled)
        for end in (left, broken):
            assert end.prices_nano_usd_per_million == prices(2, 2)
            assert end.cost_nano_usd == 30_000
        assert broken.reasoning_tokens == 2


def _state_with(known, now_us: int, **changes) -> RouterState:
    kind, base_url = "openai", "https://api.openai.com/v1"
    registered = ProviderRegistered(at_us=1, actor="t", provider_id="far", kind=kind, base_url=base_url)
    adopted = msgspec.structs.replace(known.adopted(at_us=1, actor="t"), **changes)
    key = KeyRegistered(at_us=1, actor="t", provider_id="far", fingerprint="f")
    state = RouterState()
    state.apply([NewEvent(CATALOGUE_STREAM, 1, registered), NewEvent(CATALOGUE_STREAM, 2, adopted)])
    state.apply([NewEvent("key-k", 1, key)])
    state.advance(now_us)
    return state


def _decided(state: RouterState, now_us: int, input_tokens: int = 1000) -> RouteDecided:
    facts = RequestFacts(
        operation="chat", model="m", input_tokens_bound=input_tokens, output_tokens_bound=1000
    )
    question = RouteQuestion(
        facts=facts, policy=policy_of("cost"), attempt=1, tried=(), avoided=(), at_us=now_us, seed=1
    )
    decision = decide(state, question)
    assert isinstance(decision, RouteDecided)
    return decision


def _bound(state: RouterState, now_us: int, input_tokens: int = 1000) -> int | None:
    """Return the bound of a request in dollars per million."""
    bound = _decided(state, now_us, input_tokens).chosen.cost_bound_nano_usd
    return None if bound is None else bound // 1000


async def test_two_first_starts_at_once_in_one_process(opened):
    """Who opens together waits for one opening, which adopts once."""
    async with opened() as router:
        summaries = await asyncio.gather(*(router.cost_controller.prices.summary() for _ in range(3)))
    assert {summary["book"]["sha256"] for summary in summaries} == {FIRST.sha256}

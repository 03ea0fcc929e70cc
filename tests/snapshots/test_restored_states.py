"""A state from a snapshot is the state: to the last bit, and in all that is decided from it later."""

import asyncio
import contextlib

import pytest
from histories import troubled_history
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from same_states import again, differences
from small_node import SmallNode
from test_budget_machine import BudgetMachine
from test_budget_thresholds import Spender
from test_late_settlements import broken_off

from apikeyrouter.adapters.prices.genai_book import packaged_book
from apikeyrouter.application.replay import decide_again, verify
from apikeyrouter.domain import keys
from apikeyrouter.domain.events import (
    CATALOGUE_STREAM,
    BudgetOpened,
    BudgetTerms,
    ModelsEquated,
    Prices,
    PriceSet,
    QuotaCorrected,
    QuotaLimitLearned,
    RouteDecided,
    RouteRefused,
    budget_stream,
    canonical_bytes,
    quota_stream,
)
from apikeyrouter.domain.failures import FailureClass
from apikeyrouter.domain.models.system_error import ConflictError
from apikeyrouter.domain.state import RouterState

DAY_US = 86_400_000_000
DECLARED = (
    {},
    {"rpm": 40, "tpm": 2_000},
    {"rps": 3, "rpd": 90, "quota_timezone": "Europe/Berlin", "max_concurrency": 2},
    {"rpm": 30, "quota_window": "bucket"},
    {"rpmonth": 500, "quota_group": "shared"},
    {"tpm:m": 900, "quota_group": "shared", "weight": 2.5},
)
TELLING = (FailureClass.KeyRejected, FailureClass.QuotaExhausted, FailureClass.RateLimited)
COMMANDS = (keys.disable, keys.enable, keys.drain)
passing_us = st.integers(0, 10**7) | st.integers(-DAY_US, 2 * DAY_US)


class SnapshotMachine(RuleBasedStateMachine):
    """Keys, quotas, budgets, prices and a clock that may be set back; now and then memory is a snapshot."""

    @initialize(declared=st.lists(st.sampled_from(DECLARED), min_size=1, max_size=4))
    def begin(self, declared):
        self.node = SmallNode()
        self.node.provider()
        self.names = [f"k{number}" for number in range(len(declared))]
        for name, metadata in zip(self.names, declared, strict=True):
            self.node.key(name, **metadata)

    @rule()
    def memory_comes_from_a_snapshot(self):
        """What was frozen goes on in the place of the state, as after a start."""
        self.node.journal.state = again(self.node.state)

    @rule()
    def a_snapshot_is_no_part_of_the_state(self):
        """Whatever happens to the restored state does not happen to the one that it was taken of."""
        restored = again(self.node.state)
        before = again(self.node.state)
        for event in self.node.log.recorded[-3:]:
            restored.evolve(*event)
        assert differences(before, self.node.state) == []

    @rule(step_us=passing_us)
    def time_passes(self, step_us):
        self.node.time_us += step_us
        self.node.upkeep.wake(self.node.time_us)

    @rule(count=st.integers(1, 12), seed=st.integers(0, 99))
    def requests_arrive(self, count, seed):
        for number in range(count):
            self.node.call(seed=seed + number)

    @rule(data=st.data(), failure=st.sampled_from(TELLING) | st.sampled_from(FailureClass))
    def a_call_fails(self, data, failure):
        if self.node.out:
            stream = data.draw(st.sampled_from(sorted(self.node.out)))
            self.node.fail(stream, failure, retry_after_us=data.draw(st.none() | st.integers(0, 10**9)))

    @rule(most=st.integers(1, 9), well=st.booleans())
    def calls_end(self, most, well):
        for stream in sorted(self.node.out)[:most]:
            (self.node.serve if well else self.node.leave)(stream)

    @rule(data=st.data(), decider=st.sampled_from(COMMANDS))
    def somebody_commands(self, data, decider):
        with contextlib.suppress(ConflictError):
            self.node.manage(decider, data.draw(st.sampled_from(self.names)))

    @rule(data=st.data(), metadata=st.sampled_from(DECLARED))
    def somebody_declares(self, data, metadata):
        name = data.draw(st.sampled_from(self.names))
        self.node.manage(keys.change_metadata, name, metadata=dict(metadata))

    @rule(data=st.data(), amount=st.integers(1, 50), guessed=st.booleans())
    def a_limit_is_learned(self, data, amount, guessed):
        name, source = data.draw(st.sampled_from(self.names)), "learned_from_refusal"
        learned = QuotaLimitLearned(
            at_us=self.node.time_us,
            key_id=name,
            dimension="requests",
            unit="minute",
            limit=amount,
            source=source if guessed else "learned_from_headers",
            evidence=(),
        )
        self.node.record(quota_stream(f"p/{name}/requests-minute"), learned)

    @rule(data=st.data(), remaining=st.integers(0, 20))
    def somebody_else_used_some(self, data, remaining):
        limits = [limit for limits in self.node.state.quotas.limits.values() for limit in limits]
        if limits:
            account = data.draw(st.sampled_from(limits)).account_id
            corrected = QuotaCorrected(
                at_us=self.node.time_us,
                account=account,
                remaining=remaining,
                until_us=data.draw(st.none() | st.just(self.node.time_us + 20_000_000)),
                evidence=(),
            )
            self.node.record(quota_stream(account), corrected)

    @rule(
        number=st.integers(0, 4),
        rolling=st.booleans(),
        scope=st.sampled_from((("global", None), ("key", "k0"))),
    )
    def a_budget_is_opened(self, number, rolling, scope):
        if f"b{number}" not in self.node.state.budgets.by_id:
            terms = BudgetTerms(
                limit_nano_usd=10**9,
                kind="rolling" if rolling else "fixed",
                unit="day",
                enforcement="soft",
                alerts_percent=(50, 100),
            )
            opened = BudgetOpened(
                at_us=self.node.time_us, actor="t", scope=scope[0], scope_id=scope[1], terms=terms
            )
            self.node.record(budget_stream(f"b{number}"), opened)

    @rule(whole_book=st.booleans(), usd=st.integers(1, 9))
    def prices_change(self, whole_book, usd):
        at_us = self.node.time_us
        if whole_book and self.node.state.price_book is None:
            self.node.record(CATALOGUE_STREAM, packaged_book().adopted(at_us=at_us, actor="t"))
        prices = Prices(input=usd * 10**9, output=usd * 10**9)
        self.node.record(
            CATALOGUE_STREAM,
            PriceSet(at_us=at_us, actor="t", provider_id="p", model="m", prices_nano_usd_per_million=prices),
            ModelsEquated(at_us=at_us, actor="t", model="m", equivalents=("n",), cheaper=("o",)),
        )

    @invariant()
    def the_log_gives_the_same_state(self):
        """Also where memory came from a snapshot, folding from the beginning gives that very state."""
        if hasattr(self, "node"):
            assert differences(self.node.state, self.node.refolded()) == []

    def teardown(self):
        """Every decision that was made from a restored state comes out again from the log alone."""
        if hasattr(self, "node"):
            verified = verify(self.node.log.read())
            assert verified.identical, verified.differences


class RestoredBudgets(BudgetMachine):
    """The machine of budgets, with its model of them beside it, whose memory is a snapshot now and then."""

    @rule()
    def memory_comes_from_a_snapshot(self):
        """Whatever the model foresees comes true from a restored state as well."""
        self.node.journal.state = again(self.node.state)


SnapshotMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
RestoredBudgets.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestStatesUnderAnySequence = SnapshotMachine.TestCase
TestBudgetsUnderAnySequence = RestoredBudgets.TestCase


@pytest.fixture(scope="module")
def history():
    return asyncio.run(troubled_history(requests=80))


def test_at_every_cut_of_a_troubled_history_the_state_comes_back(history):
    """Keys that throttle and fail, streams that break, managers who act: each event leaves one that fits."""
    state = RouterState()
    for recorded in history:
        state.evolve(*recorded)
        again(state)


def test_every_decision_after_a_cut_is_made_again_to_its_bytes(history):
    """A state goes through a snapshot after every event, and decides what was decided then."""
    state, decided = RouterState(), 0
    for recorded in history:
        if isinstance(recorded.event, RouteDecided | RouteRefused):
            made = decide_again(state, recorded.event)
            assert canonical_bytes(made) == canonical_bytes(recorded.event)
            decided += 1
        state.evolve(*recorded)
        state = again(state)
    assert decided > 50
    assert differences(state, RouterState().fold(history)) == []


@pytest.mark.parametrize("zone", ["UTC", b"UTC".decode()])
def test_what_comes_back_is_written_to_the_same_bytes(zone):
    """Defaults are omitted where they are the very default; so they are after a snapshot, and only they."""
    node = SmallNode()
    terms = BudgetTerms(limit_nano_usd=1, unit="day", zone=zone, enforcement="soft")
    opened = BudgetOpened(at_us=node.time_us, actor="t", scope="global", terms=terms)
    node.record(budget_stream("b"), opened)
    restored = again(node.state).budgets.by_id["b"].terms
    assert canonical_bytes(restored) == canonical_bytes(terms)
    assert (b"zone" in canonical_bytes(restored)) == (zone is not BudgetTerms.__struct_defaults__[3])


def test_what_turns_up_after_an_attempt_was_freed_finds_its_place_in_a_restored_window():
    """A snapshot between the two ends of a broken stream: what it cost leaves the window when it should."""
    spender = Spender(period="hourly", rolling=True, mode="hard")
    stream = spender.dispatch(9)
    freed, ended = broken_off(spender, 8)
    spender.node.record_of_request(stream, freed)
    spender.node.journal.state = again(spender.node.state)
    spender.node.record_of_request(stream, ended)
    assert differences(spender.node.state, spender.node.refolded()) == []
    spender.node.state.advance(spender.node.time_us + 3_600_000_000)
    assert spender.node.state.budgets.remaining(0) == spender.budget.limit_nano_usd

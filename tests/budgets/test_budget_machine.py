"""Whatever happens to budgets, in whatever order: what always holds, against the plainest model of them."""

import msgspec
from budget_world import BudgetWorld, window_of
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from naive_budgets import DAY_US, HOUR_US, MINUTE_US, NEVER_US, SECOND_US, Amount
from naive_market import SETTABLE

from apikeyrouter.application.replay import verify
from apikeyrouter.domain import budget_acts, settlement
from apikeyrouter.domain.events import (
    BudgetTerms,
    RequestFacts,
    RequestFailed,
    RequestReleased,
    budget_stream,
)
from apikeyrouter.domain.failures import Failure, FailureClass
from apikeyrouter.domain.objectives import policy_of
from apikeyrouter.domain.pricing import usd
from apikeyrouter.interfaces.budget_views import budget_view

MODELS = ("big", "small", "tiny", "unheard")
PLACES = (
    *(("global", None),) * 4,
    *(("client", name) for name in "ab"),
    ("team", "x"),
    *(("tag", name) for name in ("t1", "t2")),
    *(("route", name) for name in ("chat", "embeddings")),
    *(("provider", name) for name in ("p1", "p2", "p3")),
    *(("key", name) for name in ("k1", "k3")),
    *(("model", name) for name in ("big", "small")),
)
WINDOWS = (
    ("rolling", "hour", "UTC", 0),
    ("rolling", "custom", "UTC", 90),
    ("fixed", "hour", "UTC", 0),
    ("fixed", "day", "Europe/Berlin", 0),
    ("fixed", "week", "Europe/Berlin", 0),
    ("fixed", "month", "America/New_York", 0),
    ("fixed", "custom", "UTC", 5400),
    ("fixed", "total", "UTC", 0),
)
LIMITS = (0, 3_000_000, 20_000_000, 70_000_000, 90_000_000, 123_456_789, 400_000_000, 1_000_000_001)
FAILURES = (
    Failure(failure_class=FailureClass.FirstByteTimeout),
    Failure(failure_class=FailureClass.ConnectFailed, sent=False),
    Failure(failure_class=FailureClass.ServerError, status=500),
)
passing_us = st.one_of(
    st.integers(0, 3 * MINUTE_US),
    st.sampled_from((90 * SECOND_US, HOUR_US, DAY_US, 31 * DAY_US)),
    st.integers(-2 * DAY_US, 0),
)
terms = st.builds(
    lambda limit, window, mode, alerts, downgrade: BudgetTerms(
        limit_nano_usd=limit,
        kind=window[0],
        unit=window[1],
        zone=window[2],
        seconds=window[3],
        enforcement=mode,
        alerts_percent=alerts,
        downgrade=downgrade,
    ),
    st.sampled_from(LIMITS),
    st.sampled_from(WINDOWS),
    st.sampled_from(("hard", "hard", "soft")),
    st.sampled_from(((), (80, 100), (1, 50, 150))),
    st.booleans(),
)
facts_of_requests = st.builds(
    RequestFacts,
    operation=st.sampled_from(("chat", "chat", "chat", "embeddings")),
    model=st.sampled_from(MODELS),
    provider_id=st.none(),
    input_tokens_bound=st.sampled_from((1, 700, 1000, 1001, 2000)),
    output_tokens_bound=st.sampled_from((0, 1, 100, 500)),
    client_id=st.sampled_from((None, "a", "a", "b")),
    team=st.sampled_from((None, "x")),
    tags=st.sampled_from(((), ("t1",), ("t1", "t2"))),
    choices=st.sampled_from((1, 1, 2)),
)


class BudgetMachine(BudgetWorld):
    """Every act is done to the real deciders and fold, and to the model; both must agree in all."""

    @initialize(opened=st.lists(st.tuples(terms, st.sampled_from(PLACES)), min_size=2, max_size=6))
    def begin(self, opened):
        self.found()
        for each in opened:
            self._open(*each)

    # --- time, processes and the catalogue -------------------------------------------------------------

    @rule(passed_us=passing_us)
    def pass_time(self, passed_us):
        """The clock goes on, jumps ahead, or is set back; budgets never go back."""
        self.node.time_us += passed_us

    @rule()
    def restart(self):
        """A process dies: all is folded again, and calls that were out count at their bound, once."""
        before = self.node.state
        self._same(before, self.node.refolded())
        self._meet()
        ends = {end.stream: end.event.charged_nano_usd for end in self.node.restart()}
        assert ends.keys() == self.out.keys()
        for stream, out in self.out.items():
            assert ends[stream] == ((out.quote.bound or 0) if out.is_called else 0)
            self._settle(out, ends[stream])
        self.out.clear()

    @rule(model=st.sampled_from(MODELS), at=st.sampled_from(("p1", "p2", "p3")), to=st.sampled_from(SETTABLE))
    def set_price(self, model, at, to):
        """An administrator sets or withdraws a price; calls under way keep theirs."""
        self._meet()
        self.market.set_price(self.node, at, model, to)

    @rule(others=st.permutations(MODELS), places=st.tuples(st.integers(0, 2), st.integers(0, 2)))
    def equate(self, others, places):
        """Some models may stand in for another, and some cheaper ones where money runs short."""
        self._meet()
        model, *rest = others
        first, last = min(places), max(places)
        self.market.equate(self.node, model, tuple(rest[:first]), tuple(rest[first:last]))

    # --- what administrators do ------------------------------------------------------------------------

    @rule(terms=terms, place=st.sampled_from(PLACES))
    def open_budget(self, terms, place):
        """A budget begins with nothing spent."""
        self._meet()
        self._open(terms, place)

    @precondition(lambda self: self._open_ids())
    @rule(data=st.data(), terms=terms)
    def set_terms(self, data, terms):
        """Other terms, also of the window; what is spent stays spent, and thresholds are told anew."""
        self._meet()
        budget = self.budgets[data.draw(st.sampled_from(self._open_ids()))]
        known = self.node.state.budgets.by_id[budget.budget_id]
        event = budget_acts.set_terms(known, terms, at_us=self.node.time_us, actor="t")
        assert (event is None) == (terms == budget.terms)
        if event is None:
            return
        self.node.record(budget_stream(budget.budget_id), event)
        if window_of(budget.terms) != window_of(terms):
            moved = Amount(budget.settled(self.now_us), self.now_us, is_held=False)
            held = [each for each in budget.amounts if each.is_held and budget.counts(each, self.now_us)]
            for each in held:
                each.at_us, each.leaves_us = self.now_us, None
            budget.amounts = [moved, *held]
        budget.terms = terms
        budget.arm(self.now_us)
        budget.is_pending |= bool(budget.reached(self.now_us))
        budget.is_excused = True

    @precondition(lambda self: self._open_ids())
    @rule(data=st.data(), amount=st.sampled_from((1, 1_000_000, 100_000_000)))
    def top_up(self, data, amount):
        """More may be spent until the present window ends."""
        self._meet()
        budget = self.budgets[data.draw(st.sampled_from(self._open_ids()))]
        state = self.node.state.budgets
        known = state.by_id[budget.budget_id]
        event = budget_acts.top_up(
            known, amount, at_us=self.node.time_us, ends_us=state.ends_us(known), actor="t"
        )
        ends_us = budget.ends_us(self.now_us)
        assert event.until_us == (None if ends_us == NEVER_US else ends_us)
        self.node.record(budget_stream(budget.budget_id), event)
        budget.credits.append((ends_us, amount))
        budget.topped_up(self.now_us)

    @precondition(lambda self: self._open_ids())
    @rule(data=st.data(), seldom=st.integers(0, 4))
    def close_budget(self, data, seldom):
        """A budget bounds nothing any more; what is out is still settled in it."""
        if seldom:
            return
        self._meet()
        budget = self.budgets[data.draw(st.sampled_from(self._open_ids()))]
        known = self.node.state.budgets.by_id[budget.budget_id]
        event = budget_acts.close_budget(known, at_us=self.node.time_us, actor="t")
        self.node.record(budget_stream(budget.budget_id), event)
        budget.is_closed, budget.is_pending = True, False

    # --- requests --------------------------------------------------------------------------------------

    @rule(
        asked=st.lists(facts_of_requests, min_size=1, max_size=6),
        downgrade=st.booleans(),
        cost=st.booleans(),
        seed=st.integers(0, 3),
    )
    def ask(self, asked, downgrade, cost, seed):
        """Requests are let in if and only if their bounds fit, and hold these in all their budgets."""
        policy = msgspec.structs.replace(policy_of("cost" if cost else None), downgrade=downgrade)
        for facts in asked:
            self.count += 1
            self._decide(f"request-{self.count}", facts, policy, (), seed)

    @precondition(lambda self: any(not out.is_called for out in self.out.values()))
    @rule(data=st.data(), seed=st.integers(0, 3))
    def ask_again(self, data, seed):
        """After a failed attempt another key is asked, and pays from its own budgets."""
        stream = data.draw(st.sampled_from([name for name, out in self.out.items() if not out.is_called]))
        out = self.out[stream]
        self._decide(stream, out.decision.facts, out.decision.policy, out.tried, seed)

    @precondition(lambda self: self._called())
    @rule(share=st.integers(0, 100), most=st.integers(1, 6), is_rude=st.sampled_from((False,) * 5 + (True,)))
    def complete(self, share, most, is_rude):
        """The actual cost takes the place of the bound; only a provider that breaks its word goes above."""
        self._meet()
        for stream in self._called()[:most]:
            self._complete(stream, self.out[stream], share, is_rude=is_rude)

    @precondition(lambda self: self._called())
    @rule(data=st.data(), failure=st.sampled_from(FAILURES))
    def fail(self, data, failure):
        """A failed attempt costs its bound where the provider may charge for it, and nothing else."""
        self._meet()
        stream, out = self._draw_called(data)
        event = settlement.attempt_failed(out.decision, failure, at_us=self.node.time_us, elapsed_us=1)
        is_free = failure is not FAILURES[0]
        assert event.charged_nano_usd == (0 if is_free else out.quote.bound or 0)
        out.is_called, out.tried = False, (*out.tried, event.key_id)
        self._settle(out, event.charged_nano_usd)
        self._record(stream, event)

    @precondition(lambda self: self._called())
    @rule(data=st.data(), bytes_sent=st.integers(1, 300))
    def break_off(self, data, bytes_sent):
        """A stream that breaks is settled by what was sent, after its attempt had been freed."""
        self._meet()
        stream, out = self._draw_called(data)
        at_us, failure = self.node.time_us, Failure(failure_class=FailureClass.BrokenAnswer)
        freed = settlement.attempt_failed(
            out.decision, failure, at_us=at_us, elapsed_us=1, is_settled_later=True
        )
        self._settle(out, 0)
        self._record(stream, freed)
        event = settlement.broken_off(
            out.decision, out.offer, failure, None, at_us=at_us, response_bytes=bytes_sent
        )
        cost = event.cost_nano_usd or 0
        assert cost <= (out.quote.bound or 0) or not any(budget.is_hard for budget, _ in out.held)
        if cost:
            self._settle_late(out, cost)
        del self.out[stream]
        self._record(stream, event)

    @precondition(lambda self: self._called())
    @rule(data=st.data(), bytes_sent=st.integers(0, 300))
    def leave(self, data, bytes_sent):
        """A client that leaves pays for what was produced."""
        self._meet()
        stream, out = self._draw_called(data)
        event = settlement.cancelled(
            out.decision,
            out.offer,
            None,
            at_us=self.node.time_us,
            elapsed_us=9,
            response_bytes=bytes_sent,
        )
        cost = event.cost_nano_usd or 0
        assert cost <= (out.quote.bound or 0) or not any(budget.is_hard for budget, _ in out.held)
        self._end(stream, out, event, cost)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), is_failed=st.booleans())
    def give_up(self, data, is_failed):
        """A request that ends without a call frees all that it held."""
        self._meet()
        stream = data.draw(st.sampled_from(list(self.out)))
        out, at_us = self.out[stream], self.node.time_us
        if out.is_called or not is_failed:
            event = RequestReleased(at_us=at_us, attempt=1, key_id="", trigger="client_left")
            self._end(stream, out, event, 0)
            return
        del self.out[stream]
        self._record(stream, RequestFailed(at_us=at_us, attempts=1, failure="server_error", status=502))

    # --- what always holds -----------------------------------------------------------------------------

    @invariant()
    def no_hard_budget_is_overspent(self):
        """Settled and reserved stay within the limit, unless that was cut or a provider broke its word."""
        for budget in self._all():
            fits = budget.remaining(self.now_us) >= 0
            budget.is_excused &= not fits
            assert fits or budget.is_excused or budget.is_closed or not budget.is_hard

    @invariant()
    def views_are_the_model_to_the_nano_dollar(self):
        """What is shown of a budget is what the model counts, now and at instants to come."""
        for budget in self._all():
            for at_us in (self.now_us, self.now_us + 95 * SECOND_US, self.now_us + 2 * DAY_US):
                known = self.node.state.budgets.by_id[budget.budget_id]
                view = budget_view(self.node.state, known, at_us)
                assert view.spent == usd(budget.settled(at_us))
                assert view.reserved == usd(budget.reserved(at_us))
                assert view.limit + view.topped_up == usd(budget.limit(at_us))
                left = 0 if budget.is_closed else max(budget.remaining(at_us), 0)
                assert view.remaining == usd(left)
                ends_us = budget.ends_us(at_us)
                if budget.terms.kind == "fixed" and ends_us < NEVER_US:
                    assert (view.resets_at.timestamp() * SECOND_US) == ends_us

    def teardown(self):
        """The log gives the same state again, and every decision to the same bytes."""
        if hasattr(self, "node"):
            self._same(self.node.state, self.node.refolded())
            verified = verify(self.node.log.read())
            assert verified.identical, verified.differences


BudgetMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestBudgetsUnderAnySequence = BudgetMachine.TestCase

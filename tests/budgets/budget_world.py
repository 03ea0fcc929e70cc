"""A small market under random budgets: what is done to the real deciders is done to the plain model too."""

from dataclasses import dataclass

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine
from money_node import MoneyNode
from naive_budgets import NEVER_US, Amount, NaiveBudget
from naive_market import Market, Member, Quote, quotes

from apikeyrouter.domain import budget_acts, settlement
from apikeyrouter.domain.events import (
    BudgetAlerted,
    BudgetTerms,
    RouteDecided,
    budget_stream,
)
from apikeyrouter.domain.interfaces.provider_adapter import Usage
from apikeyrouter.domain.models.budget import BudgetScope
from apikeyrouter.domain.offered import OfferedModel
from apikeyrouter.domain.questions import RouteQuestion
from apikeyrouter.domain.routing import decide


@dataclass
class Out:
    """A request that has not ended: its last decision, and what the model counted for it."""

    decision: RouteDecided
    quote: Quote
    offer: OfferedModel
    held: list[tuple[NaiveBudget, Amount]]
    tried: tuple[str, ...] = ()
    is_called: bool = True


class BudgetWorld(RuleBasedStateMachine):
    """The node, the model beside it, and the steps that both take together."""

    def found(self):
        self.node, self.market = MoneyNode(), Market()
        self.budgets: dict[str, NaiveBudget] = {}
        self.out: dict[str, Out] = {}
        self.count, self.now_us = 0, self.node.time_us
        self.market.found(self.node)

    def _open(self, terms, place):
        budget_id, (scope, scope_id) = f"b{len(self.budgets)}", place
        opened = budget_acts.open_budget(
            terms, at_us=self.node.time_us, actor="t", scope=BudgetScope(scope), scope_id=scope_id
        )
        self.node.record(budget_stream(budget_id), opened)
        budget = self.budgets[budget_id] = NaiveBudget(budget_id, scope, scope_id, terms)
        budget.arm(self.now_us)

    def _complete(self, stream, out, share, *, is_rude):
        facts = out.decision.facts
        capped = out.decision.output_tokens_capped
        most = facts.output_tokens_bound or (0 if facts.operation == "embeddings" else capped or 50)
        given, made = facts.input_tokens_bound * share // 100, most * share // 100 * (3 if is_rude else 1)
        usage = Usage(given, made, cached_input_tokens=given // 3, reasoning_tokens=made // 2)
        answered = settlement.Outcome(
            usage=usage,
            model=None,
            finish_reason="stop",
            upstream_request_id=None,
            response_bytes=1,
            response_sha256="0",
        )
        event = settlement.completed(
            out.decision, out.offer, answered, at_us=self.node.time_us, elapsed_us=9, first_byte_us=7
        )
        price = out.quote.price
        assert event.cost_nano_usd == (
            None if price is None else price.cost(given, made, given // 3, made // 2)
        )
        if not is_rude and price is not None:
            assert event.cost_nano_usd <= out.quote.bound
        self._end(stream, out, event, event.cost_nano_usd or 0)

    def _decide(self, stream, facts, policy, tried, seed):
        self._meet()
        question = RouteQuestion(
            facts=facts, policy=policy, attempt=1, tried=tried, at_us=self.node.time_us, seed=seed
        )
        decision = decide(self.node.state, question)
        offered = self._quotes(facts, policy)
        fitting = [
            quote
            for quote in offered
            if not quote.is_refused(self.now_us) and quote.member.key_id not in tried
        ]
        if not fitting:
            self._check_refusal(decision, offered, tried)
            self.out.pop(stream, None)
            self._record(stream, decision)
            return
        assert isinstance(decision, RouteDecided), decision
        quote = self._chosen(decision, fitting)
        provider = self.node.state.providers[quote.member.provider_id]
        over = [
            each.budget_id
            for each in quote.budgets
            if not each.is_hard and each.remaining(self.now_us) < (-1 if quote.bound is None else quote.bound)
        ]
        assert sorted(decision.over_budget) == sorted(over)
        assert {(one.account, one.amount) for one in decision.reserved} == {
            (budget_stream(budget.budget_id), quote.bound or 0) for budget in quote.budgets
        }
        held = [(budget, self._count(budget, quote.bound or 0, is_held=True)) for budget in quote.budgets]
        offer = provider.models.get(quote.member.model)
        self.out[stream] = Out(decision, quote, offer, held, tried)
        self._record(stream, decision)

    def _quotes(self, facts, policy) -> list[Quote]:
        """Price a request; on cheaper models too where it may be served by them and no other fits."""
        budgets = self._all()
        offered = quotes(self.market, budgets, facts, downgraded=False)
        paying = [budget for quote in offered for budget in quote.budgets]
        _, cheaper = self.market.equated.get(facts.model, ((), ()))
        asked = policy.downgrade or any(budget.terms.downgrade for budget in paying)
        affordable = any(
            quote.bound is not None
            and all(budget.remaining(self.now_us) >= quote.bound for budget in quote.budgets)
            for quote in offered
        )
        if not (cheaper and paying and asked) or affordable:
            return offered
        return quotes(self.market, budgets, facts, downgraded=True)

    def _chosen(self, decision, fitting) -> Quote:
        chosen = decision.chosen
        member = Member(chosen.key_id, chosen.provider_id, decision.model)
        quote = next(quote for quote in fitting if quote.member == member)
        assert chosen.cost_bound_nano_usd == quote.bound
        assert decision.output_tokens_capped == quote.capped
        return quote

    def _check_refusal(self, refused, offered, tried):
        assert not isinstance(refused, RouteDecided)
        if tried or not offered:
            return
        dear = [quote for quote in offered if quote.bound is not None]
        assert refused.reason == ("budget_exceeded" if dear else "price_unknown")
        if not dear:
            assert refused.shortfall is None
            return
        fits = [
            (max(each.fits_at(quote.bound, self.now_us) for each in quote.short_of(self.now_us)), quote.bound)
            for quote in dear
        ]
        told = refused.shortfall
        budget = self.budgets[told.budget_id]
        told_us = NEVER_US if told.fits_at_us is None else told.fits_at_us
        assert (told_us, told.needed_nano_usd) == min(fits)
        assert told.fits_at_us == refused.retry_at_us
        assert (told.scope, told.scope_id) == (budget.scope, budget.scope_id)
        assert told.limit_nano_usd == budget.limit(self.now_us)
        assert told.remaining_nano_usd == max(budget.remaining(self.now_us), 0)
        assert budget.remaining(self.now_us) < told.needed_nano_usd
        assert budget.fits_at(told.needed_nano_usd, self.now_us) == told_us
        assert any(budget in quote.short_of(self.now_us) for quote in dear)

    def _meet(self):
        """Let the present come to the node and to the model; it never goes back."""
        self.node.upkeep.wake(self.node.time_us)
        before = {budget.budget_id: budget.limit(self.now_us) for budget in self._all()}
        self.now_us = max(self.now_us, self.node.time_us)
        self.node.state.advance(self.now_us)
        for budget in self._all():
            budget.is_excused |= budget.limit(self.now_us) < before[budget.budget_id]

    def _count(self, budget, nano_usd, *, is_held=False) -> Amount:
        amount = Amount(nano_usd, self.now_us, is_held)
        budget.amounts.append(amount)
        return amount

    def _settle(self, out, nano_usd):
        for budget, amount in out.held:
            if amount.is_held or not amount.nano_usd:
                budget.is_excused |= nano_usd > amount.nano_usd
                amount.nano_usd, amount.is_held = nano_usd, False
        for budget, _ in out.held:
            budget.settle_touched(self.now_us)

    def _settle_late(self, out, nano_usd):
        """Count what turns up after the end where the call was reserved."""
        for budget, amount in out.held:
            budget.is_excused |= nano_usd > (out.quote.bound or 0)
            amount.nano_usd = nano_usd
        for budget, _ in out.held:
            budget.settle_touched(self.now_us)

    def _end(self, stream, out, event, nano_usd):
        if out.is_called:
            self._settle(out, nano_usd)
        else:
            for budget, _ in out.held:
                budget.settle_touched(self.now_us)
        del self.out[stream]
        self._record(stream, event)

    def _record(self, stream, event):
        """Record an event of a request; exactly the alerts that are due follow from it."""
        before = len(self.node.log.recorded)
        self.node.record_of_request(stream, event)
        alerts = {}
        for recorded in self.node.log.recorded[before:]:
            if isinstance(recorded.event, BudgetAlerted):
                alerts[recorded.stream.removeprefix("budget-")] = recorded.event
        due = {each.budget_id: each.reached(self.now_us) for each in self._all() if each.is_pending}
        due = {budget_id: percent for budget_id, percent in due.items() if percent}
        assert {budget_id: alert.percent for budget_id, alert in alerts.items()} == due
        for budget_id, alert in alerts.items():
            budget = self.budgets[budget_id]
            assert alert.settled_nano_usd == budget.settled(self.now_us)
            assert alert.limit_nano_usd == budget.limit(self.now_us)
            budget.told(alert.percent, self.now_us)

    def _all(self) -> list[NaiveBudget]:
        return list(self.budgets.values()) if hasattr(self, "budgets") else []

    def _open_ids(self) -> list[str]:
        return [budget.budget_id for budget in self._all() if not budget.is_closed]

    def _called(self) -> list[str]:
        return [stream for stream, out in self.out.items() if out.is_called]

    def _draw_called(self, data):
        stream = data.draw(st.sampled_from(self._called()))
        return stream, self.out[stream]

    def _same(self, live, again):
        """Two folds of the same log hold the same money, byte for byte."""
        again.advance(live.latest_us)
        for name in ("limit", "used", "reserved", "ends_us", "rolls_for_us"):
            one, other = getattr(live.budgets.accounts, name), getattr(again.budgets.accounts, name)
            assert one.tobytes() == other.tobytes(), name
        assert [msgspec.json.encode(budget) for budget in live.budgets.by_row] == [
            msgspec.json.encode(budget) for budget in again.budgets.by_row
        ]
        assert live.budgets.refs == again.budgets.refs
        assert live.budgets.due == again.budgets.due
        assert live.open_requests.keys() == again.open_requests.keys()


def window_of(terms: BudgetTerms) -> tuple:
    return terms.kind, terms.unit, terms.zone, terms.seconds

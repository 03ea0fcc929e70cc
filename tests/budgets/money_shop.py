"""A shop for tests of money: providers with keys, budgets, and requests that are decided one by one."""

from decimal import Decimal

from money_node import START_US, MoneyNode

from apikeyrouter.domain import budget_acts
from apikeyrouter.domain.budget_terms import parse_terms
from apikeyrouter.domain.events import ModelOffer, RequestFacts, budget_stream
from apikeyrouter.domain.models.budget import BudgetScope
from apikeyrouter.domain.objectives import policy_of
from apikeyrouter.domain.questions import RouteQuestion
from apikeyrouter.domain.routing import decide

POINT = 10**5
"""A hundredth of a cent, in nano-USD: small enough for sums that are exact in floats."""


def offer(model="m", points=1, **fields) -> ModelOffer:
    prices = {"input_nano_usd_per_mtok": 0, "output_nano_usd_per_mtok": points * POINT * 1_000_000}
    return ModelOffer(model=model, **(prices | fields))


class Shop:
    """A node with providers by name, a key of each, tokens at a point, and budgets in points."""

    def __init__(self, **providers):
        self.node = MoneyNode()
        for name, offers in (providers or {"p": (offer(),)}).items():
            self.node.provider(name, *offers)
            self.node.key(f"key-of-{name}", name)
        self.asked = 0

    def budget(self, budget_id, limit, period="daily", mode="hard", scope="global", scope_id=None, **fields):
        opened = budget_acts.open_budget(
            parse_terms(Decimal(limit) / 10_000, period, mode, **fields),
            at_us=START_US,
            actor="t",
            scope=BudgetScope(scope),
            scope_id=scope_id,
        )
        self.node.record(budget_stream(budget_id), opened)

    def ask(self, tokens=1, *, model="m", operation="chat", policy=None, **facts):
        """Decide and record."""
        wanted = RequestFacts(
            operation=operation,
            model=model,
            output_tokens_bound=tokens * facts.get("choices", 1),
            **facts,
        )
        question = RouteQuestion(
            facts=wanted,
            policy=policy or policy_of(None),
            attempt=1,
            tried=(),
            at_us=self.node.time_us,
            seed=1,
        )
        self.node.upkeep.wake(self.node.time_us)
        decision = decide(self.node.state, question)
        self.asked += 1
        self.node.record_of_request(f"request-{self.asked}", decision)
        return decision

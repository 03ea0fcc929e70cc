"""Money, as the library manages it: budgets, prices, estimates, and which models stand in for which."""

from collections.abc import Awaitable, Callable, Iterable
from decimal import Decimal

from apikeyrouter.bootstrap import Node
from apikeyrouter.domain.budget_terms import parse_terms, parse_usd, word
from apikeyrouter.domain.models.budget import Budget, BudgetScope, EnforcementMode, TimeWindow
from apikeyrouter.domain.models.cost_estimate import EstimateAccuracy, RequestEstimate
from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.interfaces.budget_views import budget_view
from apikeyrouter.interfaces.estimate_views import accuracy_view, estimate_view
from apikeyrouter.interfaces.intents import Intent, Objective, order_of
from apikeyrouter.interfaces.price_queries import ACTOR, PriceQueries


class CostController:
    """Budgets, prices, estimates. Amounts are US dollars: Decimal, whole number or text, never a float."""

    def __init__(self, open_node: Callable[[], Awaitable[Node]]) -> None:
        self._open_node = open_node
        self.prices = PriceQueries(open_node)

    async def create_budget(  # noqa: PLR0913 - the published signature, and what goes beyond it by name
        self,
        scope: BudgetScope | str,
        limit: Decimal | int | str,
        period: TimeWindow | str,
        enforcement_mode: EnforcementMode | str = EnforcementMode.Hard,
        scope_id: str | None = None,
        *,
        name: str | None = None,
        rolling: bool = False,
        seconds: int | None = None,
        timezone: str = "UTC",
        alerts_percent: Iterable[int] | None = None,
        downgrade: bool = False,
    ) -> Budget:
        """Bound what a scope may spend a period, from now on.

        Fixed periods begin on the hour, at midnight, on Mondays, on the first of the month of `timezone`;
        `rolling` ones end now. `seconds` is the length of a custom period. Raises `InvalidRequestError`.
        """
        node = await self._open_node()
        terms = parse_terms(
            limit,
            period,
            enforcement_mode,
            rolling=rolling,
            seconds=seconds,
            timezone=timezone,
            alerts_percent=alerts_percent,
            downgrade=downgrade,
        )
        opened = await node.budgets.open(
            terms, actor=ACTOR, scope=word(BudgetScope, scope, "scope"), scope_id=scope_id, name=name
        )
        return self._view(node, opened.budget_id)

    async def get_budget(self, budget_id: str) -> Budget:
        """Return a budget as it stands now, or raise `NotFoundError`."""
        return self._view(await self._open_node(), budget_id)

    async def list_budgets(self, *, closed: bool = False) -> list[Budget]:
        """Return the open budgets in the order of their opening, with `closed` the closed ones as well."""
        node = await self._open_node()
        budgets = node.state.budgets.by_row
        return [self._view(node, each.budget_id) for each in budgets if closed or not each.is_closed]

    async def top_up(
        self, budget_id: str, amount: Decimal | int | str, *, reason: str | None = None
    ) -> Budget:
        """Let more be spent in the present period."""
        node = await self._open_node()
        await node.budgets.top_up(budget_id, parse_usd(amount, "amount"), actor=ACTOR, reason=reason)
        return self._view(node, budget_id)

    async def close_budget(self, budget_id: str, *, reason: str | None = None) -> Budget:
        """Bound nothing any more by a budget; its history stays."""
        node = await self._open_node()
        await node.budgets.close(budget_id, actor=ACTOR, reason=reason)
        return self._view(node, budget_id)

    async def equate_models(
        self, model: str, equivalents: Iterable[str] = (), cheaper: Iterable[str] = ()
    ) -> None:
        """Say which models may serve requests for a model: equals always, cheaper ones by downgrade.

        Those that providers list may be chosen; both empty takes back what was said.
        """
        node = await self._open_node()
        await node.budgets.equate(
            model, _names(equivalents, "equivalents"), _names(cheaper, "cheaper"), actor=ACTOR
        )

    async def estimate(self, intent: Intent, objective: Objective = None) -> RequestEstimate:
        """Tell what an intent would cost if it was routed now, and by whom; nothing is sent or reserved."""
        node = await self._open_node()
        return estimate_view(node, order_of(node, intent, objective))

    async def reconciliation(self) -> list[EstimateAccuracy]:
        """Compare estimates with what came of them, for every model of every provider."""
        return accuracy_view((await self._open_node()).state)

    def _view(self, node: Node, budget_id: str) -> Budget:
        return budget_view(node.state, node.budgets.budget(budget_id), node.clock.now_us())


def _names(given: Iterable[str], param: str) -> tuple[str, ...]:
    """Take names one by one; of a single text its letters would be taken for names."""
    if isinstance(given, str):
        raise InvalidRequestError(f"{param} must be a list of models, not one text", param=param)
    return tuple(given)

"""Administrators' acts on budgets; each is an event with its author, durable before it returns."""

from apikeyrouter.application.journal import Journal
from apikeyrouter.application.ports import Clock, Entropy
from apikeyrouter.domain import budget_acts
from apikeyrouter.domain.budgets import Budget
from apikeyrouter.domain.events import CATALOGUE_STREAM, BudgetTerms, Event, ModelsEquated, budget_stream
from apikeyrouter.domain.models.budget import BudgetScope
from apikeyrouter.domain.models.system_error import InvalidRequestError, NotFoundError
from apikeyrouter.domain.offers import checked_name


class Budgeting:
    """Open, change, top up and close budgets, and say which models may stand in for which."""

    def __init__(self, *, journal: Journal, clock: Clock, entropy: Entropy) -> None:
        self._journal = journal
        self._clock = clock
        self._entropy = entropy

    async def open(
        self,
        terms: BudgetTerms,
        *,
        actor: str,
        scope: BudgetScope,
        scope_id: str | None = None,
        name: str | None = None,
    ) -> Budget:
        """Bound the spending of a scope from now on."""
        event = budget_acts.open_budget(
            terms, at_us=self._clock.now_us(), actor=actor, scope=scope, scope_id=scope_id, name=name
        )
        budget_id = self._entropy.new_id()
        await self._record(budget_stream(budget_id), event)
        return self.budget(budget_id)

    async def set_terms(
        self, budget_id: str, terms: BudgetTerms, *, actor: str, reason: str | None = None
    ) -> Budget:
        """Put other terms in place; what is spent stays spent."""
        at_us = self._clock.now_us()
        event = budget_acts.set_terms(self.budget(budget_id), terms, at_us=at_us, actor=actor, reason=reason)
        if event is not None:
            await self._record(budget_stream(budget_id), event)
        return self.budget(budget_id)

    async def top_up(
        self, budget_id: str, amount_nano_usd: int, *, actor: str, reason: str | None = None
    ) -> Budget:
        """Let more be spent in the present window."""
        at_us = self._clock.now_us()
        self._journal.state.advance(at_us)
        budget = self.budget(budget_id)
        ends_us = self._journal.state.budgets.ends_us(budget)
        event = budget_acts.top_up(
            budget, amount_nano_usd, at_us=at_us, ends_us=ends_us, actor=actor, reason=reason
        )
        await self._record(budget_stream(budget_id), event)
        return self.budget(budget_id)

    async def close(self, budget_id: str, *, actor: str, reason: str | None = None) -> Budget:
        """Bound nothing any more by this budget; its history stays."""
        at_us = self._clock.now_us()
        event = budget_acts.close_budget(self.budget(budget_id), at_us=at_us, actor=actor, reason=reason)
        await self._record(budget_stream(budget_id), event)
        return self.budget(budget_id)

    async def equate(
        self, model: str, equivalents: tuple[str, ...], cheaper: tuple[str, ...], *, actor: str
    ) -> None:
        """Say which models may serve requests for a model: equals always, cheaper ones by downgrade."""
        names = [checked_name(each) for each in (model, *equivalents, *cheaper)]
        if len(set(names)) != len(names):
            raise InvalidRequestError("each model may be named once, and none for itself", param="models")
        event = ModelsEquated(
            at_us=self._clock.now_us(),
            actor=actor,
            model=model,
            equivalents=equivalents,
            cheaper=cheaper,
        )
        await self._record(CATALOGUE_STREAM, event)

    def budget(self, budget_id: str) -> Budget:
        """Return a budget, or raise `NotFoundError`."""
        budget = self._journal.state.budgets.by_id.get(budget_id)
        if budget is None:
            raise NotFoundError(f"no budget has the id {str(budget_id)[:64]!r}", param="budget_id")
        return budget

    async def _record(self, stream: str, event: Event) -> None:
        await self._journal.settled(self._journal.record_next(stream, event))

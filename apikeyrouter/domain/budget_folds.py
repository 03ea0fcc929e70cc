"""How the fold takes in what administrators decide about budgets, and the alerts that were given."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from apikeyrouter.domain.events import (
    BudgetAlerted,
    BudgetClosed,
    BudgetOpened,
    BudgetTermsSet,
    BudgetToppedUp,
    Event,
    EventRef,
)

if TYPE_CHECKING:
    from apikeyrouter.domain.state import RouterState


def _opened(state: "RouterState", stream: str, version: int, event: BudgetOpened) -> None:
    state.budgets.open_budget(_budget_id(stream), event, EventRef(stream, version))
    state.pools.clear()


def _terms_set(state: "RouterState", stream: str, version: int, event: BudgetTermsSet) -> None:
    purses = (request.purse for request in state.open_requests.values() if request.purse is not None)
    state.budgets.set_terms(_budget_id(stream), event.terms, EventRef(stream, version), purses)
    state.pools.clear()


def _topped_up(state: "RouterState", stream: str, version: int, event: BudgetToppedUp) -> None:
    ref = EventRef(stream, version)
    state.budgets.top_up(_budget_id(stream), event.amount_nano_usd, event.until_us, ref)


def _closed(state: "RouterState", stream: str, version: int, _event: BudgetClosed) -> None:
    state.budgets.close_budget(_budget_id(stream), EventRef(stream, version))
    state.pools.clear()


def _alerted(state: "RouterState", stream: str, _version: int, event: BudgetAlerted) -> None:
    state.budgets.alerted(_budget_id(stream), event)


def _budget_id(stream: str) -> str:
    return stream.removeprefix("budget-")


BUDGET_FOLDS: dict[type[Event], Callable[["RouterState", str, int, Any], None]] = {
    BudgetOpened: _opened,
    BudgetTermsSet: _terms_set,
    BudgetToppedUp: _topped_up,
    BudgetClosed: _closed,
    BudgetAlerted: _alerted,
}

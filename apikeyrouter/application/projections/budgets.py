"""Budgets: what is bounded, every change of it, and every alert. What calls reserved stands in quota use."""

from typing import Any

import msgspec

from apikeyrouter.application.projections.tables import Change, Column, ReadModel, Table
from apikeyrouter.domain.events import (
    BudgetAlerted,
    BudgetClosed,
    BudgetOpened,
    BudgetTerms,
    BudgetTermsSet,
    BudgetToppedUp,
    Recorded,
)

CHANGES = Table(
    name="budget_changes",
    columns={
        "position": Column(int),
        "budget_id": Column(str),
        "version": Column(int),
        "at_us": Column(int),
        "actor": Column(str),
        "change": Column(str),
        "scope": Column(str),
        "scope_id": Column(str),
        "amount_nano_usd": Column(int),
        "settled_nano_usd": Column(int),
        "percent": Column(int),
        "until_us": Column(int),
        "terms": Column(str),
        "reason": Column(str),
    },
)
_CHANGE = CHANGES.writing()


def _opened(place: Recorded, event: BudgetOpened) -> list[Change]:
    told = (event.scope, event.scope_id, event.terms.limit_nano_usd, None, None, None, _terms(event.terms))
    return [_row(place, event.actor, "opened", *told, event.name)]


def _terms_set(place: Recorded, event: BudgetTermsSet) -> list[Change]:
    told = (None, None, event.terms.limit_nano_usd, None, None, None, _terms(event.terms))
    return [_row(place, event.actor, "terms_set", *told, event.reason)]


def _topped_up(place: Recorded, event: BudgetToppedUp) -> list[Change]:
    told = (None, None, event.amount_nano_usd, None, None, event.until_us, None)
    return [_row(place, event.actor, "topped_up", *told, event.reason)]


def _closed(place: Recorded, event: BudgetClosed) -> list[Change]:
    return [_row(place, event.actor, "closed", *(None,) * 7, event.reason)]


def _alerted(place: Recorded, event: BudgetAlerted) -> list[Change]:
    spent = (event.limit_nano_usd, event.settled_nano_usd, event.percent, event.window_ends_us)
    return [_row(place, None, "alerted", None, None, *spent, None, None)]


def _row(place: Recorded, actor: str | None, change: str, *told: Any) -> Change:
    budget_id = place.stream.removeprefix("budget-")
    return _CHANGE, (place.position, budget_id, place.version, place.event.at_us, actor, change, *told)


def _terms(terms: BudgetTerms) -> str:
    return msgspec.json.encode(terms, order="deterministic").decode()


MODEL = ReadModel(
    name="budgets",
    about="What budgets there are, every change of them and every alert.",
    tables=(CHANGES,),
    projections={
        BudgetOpened: _opened,
        BudgetTermsSet: _terms_set,
        BudgetToppedUp: _topped_up,
        BudgetClosed: _closed,
        BudgetAlerted: _alerted,
    },
)

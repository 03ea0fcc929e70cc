"""Budgets: what is bounded, every change of it, every window and every alert.

What calls reserved stands in quota use, how a window was shared out to nodes in leases.
"""

from typing import NamedTuple

import msgspec

from apikeyrouter.application.projections.tables import Change, Column, ReadModel, Table
from apikeyrouter.domain.events import (
    BudgetAlerted,
    BudgetClosed,
    BudgetOpened,
    BudgetTerms,
    BudgetTermsSet,
    BudgetToppedUp,
    BudgetWindowOpened,
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
        "window": Column(int),
        "since_us": Column(int),
        "until_us": Column(int),
        "terms": Column(str),
        "reason": Column(str),
    },
)
_CHANGE = CHANGES.writing()


class _Told(NamedTuple):
    """What a change tells; none of the rest."""

    scope: str | None = None
    scope_id: str | None = None
    amount_nano_usd: int | None = None
    settled_nano_usd: int | None = None
    percent: int | None = None
    window: int | None = None
    since_us: int | None = None
    until_us: int | None = None
    terms: str | None = None
    reason: str | None = None


def _opened(place: Recorded, event: BudgetOpened) -> list[Change]:
    limit, terms = event.terms.limit_nano_usd, _terms(event.terms)
    told = _Told(event.scope, event.scope_id, limit, terms=terms, reason=event.name)
    return _row(place, event.actor, "opened", told)


def _terms_set(place: Recorded, event: BudgetTermsSet) -> list[Change]:
    limit, terms = event.terms.limit_nano_usd, _terms(event.terms)
    return _row(place, event.actor, "terms_set", _Told(None, None, limit, terms=terms, reason=event.reason))


def _topped_up(place: Recorded, event: BudgetToppedUp) -> list[Change]:
    told = _Told(None, None, event.amount_nano_usd, until_us=event.until_us, reason=event.reason)
    return _row(place, event.actor, "topped_up", told)


def _closed(place: Recorded, event: BudgetClosed) -> list[Change]:
    return _row(place, event.actor, "closed", _Told(reason=event.reason))


def _window_opened(place: Recorded, event: BudgetWindowOpened) -> list[Change]:
    told = _Told(window=event.window, since_us=event.starts_us, until_us=event.ends_us)
    return _row(place, None, "window_opened", told)


def _alerted(place: Recorded, event: BudgetAlerted) -> list[Change]:
    spent = (event.limit_nano_usd, event.settled_nano_usd, event.percent)
    return _row(place, None, "alerted", _Told(None, None, *spent, until_us=event.window_ends_us))


def _row(place: Recorded, actor: str | None, change: str, told: _Told) -> list[Change]:
    budget_id = place.stream.removeprefix("budget-")
    where = (place.position, budget_id, place.version, place.event.at_us)
    return [(_CHANGE, (*where, actor, change, *told))]


def _terms(terms: BudgetTerms) -> str:
    return msgspec.json.encode(terms, order="deterministic").decode()


MODEL = ReadModel(
    name="budgets",
    about="What budgets there are, every change of them, every window and every alert.",
    tables=(CHANGES,),
    projections={
        BudgetOpened: _opened,
        BudgetTermsSet: _terms_set,
        BudgetToppedUp: _topped_up,
        BudgetClosed: _closed,
        BudgetWindowOpened: _window_opened,
        BudgetAlerted: _alerted,
    },
)

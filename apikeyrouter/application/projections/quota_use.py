"""Quota use: what each call reserved of which account, and what was learned of limits.

Budgets are accounts too: theirs are named `budget-<id>` and counted in nano-USD.
"""

import msgspec

from apikeyrouter.application.projections.key_life import references
from apikeyrouter.application.projections.tables import Change, Column, ReadModel, Rule, Table
from apikeyrouter.domain.events import QuotaCorrected, QuotaLimitLearned, Recorded, RouteDecided

RESERVATIONS = Table(
    name="reservations",
    columns={
        "account": Column(str),
        "position": Column(int),
        "request_id": Column(str),
        "attempt": Column(int),
        "at_us": Column(int),
        "amount": Column(int, Rule.Sum),
    },
    key=("account", "position"),
    appends=False,
)
LIMITS = Table(
    name="quota_changes",
    columns={
        "position": Column(int),
        "account": Column(str),
        "version": Column(int),
        "at_us": Column(int),
        "change": Column(str),
        "key_id": Column(str),
        "dimension": Column(str),
        "unit": Column(str),
        "amount": Column(int),
        "models": Column(str),
        "source": Column(str),
        "until_us": Column(int),
        "evidence": Column(str),
    },
)

_RESERVATION = RESERVATIONS.writing()
_LIMIT = LIMITS.writing()


def _decided(place: Recorded, event: RouteDecided) -> list[Change]:
    if not event.reserved:
        return []
    request_id = place.stream.removeprefix("request-")
    return [
        (_RESERVATION, (one.account, place.position, request_id, event.attempt, event.at_us, one.amount))
        for one in event.reserved
    ]


def _learned(place: Recorded, event: QuotaLimitLearned) -> list[Change]:
    models = None if event.models is None else msgspec.json.encode(event.models).decode()
    row = (
        *_where(place),
        "limit_learned",
        event.key_id,
        event.dimension,
        event.unit,
        event.limit,
        models,
        event.source,
        None,
        references(event.evidence),
    )
    return [(_LIMIT, row)]


def _corrected(place: Recorded, event: QuotaCorrected) -> list[Change]:
    told = ("corrected", None, None, None, event.remaining, None, None, event.until_us)
    return [(_LIMIT, (*_where(place), *told, references(event.evidence)))]


def _where(place: Recorded) -> tuple[int, str, int, int]:
    return place.position, place.stream.removeprefix("quota-"), place.version, place.event.at_us


MODEL = ReadModel(
    name="quota_use",
    about="What calls reserved of quotas and budgets, and what was learned of limits from providers.",
    tables=(RESERVATIONS, LIMITS),
    projections={RouteDecided: _decided, QuotaLimitLearned: _learned, QuotaCorrected: _corrected},
)

"""Leases: how the window of an account was shared out to nodes, one row a move.

What a node gave back, spent or was granted is told as a total since its lease began, as the events tell it.
"""

from typing import NamedTuple

import msgspec

from apikeyrouter.application.projections.key_life import references
from apikeyrouter.application.projections.tables import Change, Column, ReadModel, Table
from apikeyrouter.domain.events import (
    BudgetSpentOutside,
    LeaseClosed,
    LeaseDenied,
    LeaseExpired,
    LeaseGranted,
    LeaseRecalled,
    LeaseReclaimed,
    LeaseRenewed,
    LeaseReturned,
    LeaseWanted,
    Recorded,
)

MOVES = Table(
    name="lease_moves",
    columns={
        "position": Column(int),
        "account": Column(str),
        "version": Column(int),
        "at_us": Column(int),
        "change": Column(str),
        "node_id": Column(str),
        "lease": Column(int),
        "ask": Column(int),
        "recall": Column(int),
        "window": Column(int),
        "amount": Column(int),
        "settled": Column(int),
        "forfeited": Column(int),
        "free": Column(int),
        "until_us": Column(int),
        "term_us": Column(int),
        "reason": Column(str),
        "silent_us": Column(int),
        "told_by": Column(str),
        "leases": Column(str),
        "evidence": Column(str),
    },
)
_MOVE = MOVES.writing()


class _Move(NamedTuple):
    """What a move tells; none of the rest."""

    change: str
    node_id: str | None = None
    lease: int | None = None
    ask: int | None = None
    recall: int | None = None
    window: int | None = None
    amount: int | None = None
    settled: int | None = None
    forfeited: int | None = None
    free: int | None = None
    until_us: int | None = None
    term_us: int | None = None
    reason: str | None = None
    silent_us: int | None = None
    told_by: str | None = None
    leases: str | None = None
    evidence: str | None = None


def _spent_outside(place: Recorded, event: BudgetSpentOutside) -> list[Change]:
    return _row(place, _Move("spent_outside", event.node_id, amount=event.amount))


def _wanted(place: Recorded, event: LeaseWanted) -> list[Change]:
    asked = _Move("wanted", event.node_id, ask=event.ask, amount=event.amount, term_us=event.term_us)
    return _row(place, asked)


def _granted(place: Recorded, event: LeaseGranted) -> list[Change]:
    granted = _Move(
        "granted",
        event.node_id,
        event.lease,
        event.ask,
        event.recall or None,
        event.window,
        event.granted,
        until_us=event.ends_us,
        term_us=event.term_us,
    )
    return _row(place, granted)


def _denied(place: Recorded, event: LeaseDenied) -> list[Change]:
    told = _Move(
        "denied", event.node_id, ask=event.ask, amount=event.amount, free=event.free, reason=event.reason
    )
    return _row(place, told)


def _recalled(place: Recorded, event: LeaseRecalled) -> list[Change]:
    leases = msgspec.json.encode(event.leases).decode()
    return _row(place, _Move("recalled", event.ask_node_id, recall=event.recall, leases=leases))


def _returned(place: Recorded, event: LeaseReturned) -> list[Change]:
    told = _Move(
        "returned",
        event.node_id,
        event.lease,
        recall=event.recall or None,
        amount=event.returned,
        settled=event.settled,
    )
    return _row(place, told)


def _renewed(place: Recorded, event: LeaseRenewed) -> list[Change]:
    return _row(place, _Move("renewed", event.node_id, event.lease, settled=event.settled))


def _closed(place: Recorded, event: LeaseClosed) -> list[Change]:
    return _row(place, _Move("closed", event.node_id, event.lease, settled=event.settled))


def _expired(place: Recorded, event: LeaseExpired) -> list[Change]:
    told = _Move(
        "expired",
        event.node_id,
        event.lease,
        reason=event.trigger,
        silent_us=event.silent_us or None,
        told_by=event.by_node_id,
    )
    return _row(place, told)


def _reclaimed(place: Recorded, event: LeaseReclaimed) -> list[Change]:
    told = _Move(
        "reclaimed",
        event.node_id,
        event.lease,
        settled=event.settled,
        forfeited=event.forfeited,
        evidence=references(event.evidence),
    )
    return _row(place, told)


def _row(place: Recorded, move: _Move) -> list[Change]:
    return [(_MOVE, (place.position, place.stream, place.version, place.event.at_us, *move))]


MODEL = ReadModel(
    name="leases",
    about="How windows of accounts were shared out to nodes: asked for, granted, denied, given back, ended.",
    tables=(MOVES,),
    projections={
        BudgetSpentOutside: _spent_outside,
        LeaseWanted: _wanted,
        LeaseGranted: _granted,
        LeaseDenied: _denied,
        LeaseRecalled: _recalled,
        LeaseReturned: _returned,
        LeaseRenewed: _renewed,
        LeaseClosed: _closed,
        LeaseExpired: _expired,
        LeaseReclaimed: _reclaimed,
    },
)

"""How an account takes in the events of its stream: what administrators decide, what becomes of leases."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from apikeyrouter.domain.account_columns import NEVER_US
from apikeyrouter.domain.events import (
    BudgetClosed,
    BudgetOpened,
    BudgetSpentOutside,
    BudgetTerms,
    BudgetTermsSet,
    BudgetToppedUp,
    BudgetWindowOpened,
    Event,
    LeaseClosed,
    LeaseDenied,
    LeaseExpired,
    LeaseGranted,
    LeaseRecalled,
    LeaseReclaimed,
    LeaseRenewed,
    LeaseReturned,
    LeaseWanted,
)
from apikeyrouter.domain.leases import Lease, LeaseAccount, Recall
from apikeyrouter.domain.windows import Kind, Unit, Window, bounds

FADING_STEPS = 1_000
"""What leaves a rolling window within one of so many steps of it leaves together, at the end of the step."""


def fold(events: Iterable[Event], account: LeaseAccount | None = None) -> LeaseAccount:
    """Take in the events of an account's stream in their order."""
    account = account or LeaseAccount()
    for event in events:
        account = evolve(account, event)
    return account


def evolve(account: LeaseAccount, event: Event) -> LeaseAccount:
    """Take in the next event; one that tells nothing of leases only lets time pass."""
    account = advance(account, event.at_us)
    change = _EVOLVE.get(type(event))
    return account if change is None else change(account, event)


def advance(account: LeaseAccount, at_us: int) -> LeaseAccount:
    """Let go what has left by time alone, out of the window or of what was topped up."""
    now_us = max(account.latest_us, at_us)
    gone = sum(amount for leaves_us, amount in account.fading if leaves_us <= now_us)
    return msgspec.structs.replace(
        account,
        latest_us=now_us,
        credits=tuple(one for one in account.credits if one[0] > now_us),
        fading=tuple(one for one in account.fading if one[0] > now_us),
        faded=account.faded + gone,
        moves=account.moves + (gone > 0),
    )


# --- what administrators and the calendar do ---------------------------------------------------------


def _opened(account: LeaseAccount, event: BudgetOpened) -> LeaseAccount:
    return _framed(account, event.terms)


def _terms_set(account: LeaseAccount, event: BudgetTermsSet) -> LeaseAccount:
    """Put other terms in place. Into another window, what is charged moves along: never too little."""
    if _frame(event.terms) != account.frame:
        return _framed(account, event.terms)
    return _moved(account, limit=event.terms.limit_nano_usd)


def _topped_up(account: LeaseAccount, event: BudgetToppedUp) -> LeaseAccount:
    until_us = NEVER_US if event.until_us is None else event.until_us
    if until_us <= account.latest_us:
        return account
    return _moved(account, credits=(*account.credits, (until_us, event.amount_nano_usd)))


def _closed(account: LeaseAccount, _event: BudgetClosed) -> LeaseAccount:
    return _moved(account, is_closed=True, wants=(), recall=None)


def _window_opened(account: LeaseAccount, event: BudgetWindowOpened) -> LeaseAccount:
    return _moved(
        account, window=event.window, ends_us=event.ends_us, spent=0, faded=0, fading=(), recall=None
    )


def _spent_outside(account: LeaseAccount, event: BudgetSpentOutside) -> LeaseAccount:
    return _fade_later(_moved(account, spent=account.spent + event.amount), event.amount)


def _framed(account: LeaseAccount, terms: BudgetTerms) -> LeaseAccount:
    frame, rolls = _frame(terms), terms.kind == "rolling"
    settled = account.spent - account.faded + sum(lease.settled for lease in account.current)
    return _moved(
        account,
        limit=terms.limit_nano_usd,
        frame=frame,
        ends_us=NEVER_US if rolls else bounds(frame, account.latest_us)[1],
        fading=((account.latest_us + frame.length_us, settled),) if rolls else (),
    )


def _frame(terms: BudgetTerms) -> Window:
    kind, unit = msgspec.convert(terms.kind, Kind), msgspec.convert(terms.unit, Unit)
    return Window(kind, unit, terms.zone, terms.seconds)


# --- what becomes of questions -----------------------------------------------------------------------


def _wanted(account: LeaseAccount, event: LeaseWanted) -> LeaseAccount:
    return msgspec.structs.replace(account, wants=(*account.wants, event))


def _granted(account: LeaseAccount, event: LeaseGranted) -> LeaseAccount:
    known = account.leases.get(event.lease)
    lease = Lease(
        number=event.lease,
        node_id=event.node_id,
        window=event.window,
        granted=event.granted,
        returned=0 if known is None else known.returned,
        settled=0 if known is None else known.settled,
        term_us=event.term_us,
        signs=1 if known is None else known.signs + 1,
    )
    # It is not subject to the recall that is under way; as this moved money, there will be another round.
    account = _not_awaiting(account, event.lease)
    latest = max(account.latest_lease, event.lease)
    return _answered(_moved(account, leases=_with(account, lease), latest_lease=latest), event)


def _denied(account: LeaseAccount, event: LeaseDenied) -> LeaseAccount:
    return _answered(account, event)


def _answered(account: LeaseAccount, event: LeaseGranted | LeaseDenied) -> LeaseAccount:
    """Take a question off the list; the recall was made for the first of them."""
    is_first = bool(account.wants) and account.wants[0].node_id == event.node_id
    return msgspec.structs.replace(
        account,
        wants=tuple(want for want in account.wants if want.node_id != event.node_id),
        recall=None if is_first else account.recall,
        answered={**account.answered, event.node_id: event.ask},
    )


# --- what becomes of leases --------------------------------------------------------------------------


def _recalled(account: LeaseAccount, event: LeaseRecalled) -> LeaseAccount:
    leases = dict(account.leases)
    for number in event.leases:
        leases[number] = msgspec.structs.replace(leases[number], recalled=event.recall)
    recall = Recall(
        number=event.recall,
        is_first=account.recall is None,
        awaiting=frozenset(event.leases),
        moves=account.moves,
    )
    return msgspec.structs.replace(
        account,
        leases=leases,
        latest_recall=event.recall,
        recall=account.recall if event.ask_node_id is None else recall,
    )


def _returned(account: LeaseAccount, event: LeaseReturned) -> LeaseAccount:
    lease = account.leases[event.lease]
    moved = event.returned > lease.returned
    if account.recall is not None and event.recall >= account.recall.number:
        account = _not_awaiting(account, event.lease)
    account = _heard(account, lease, returned=event.returned, settled=event.settled)
    return _moved(account) if moved else account


def _renewed(account: LeaseAccount, event: LeaseRenewed) -> LeaseAccount:
    return _heard(account, account.leases[event.lease], settled=event.settled)


def _expired(account: LeaseAccount, event: LeaseExpired) -> LeaseAccount:
    lease = msgspec.structs.replace(account.leases[event.lease], expired=True)
    return msgspec.structs.replace(account, leases=_with(account, lease))


def _lease_closed(account: LeaseAccount, event: LeaseClosed) -> LeaseAccount:
    return _ended(account, event.lease, event.settled)


def _reclaimed(account: LeaseAccount, event: LeaseReclaimed) -> LeaseAccount:
    return _ended(account, event.lease, event.settled + event.forfeited)


def _ended(account: LeaseAccount, number: int, spent: int) -> LeaseAccount:
    lease = account.leases[number]
    account = _not_awaiting(_heard(account, lease, settled=spent), number)
    return _moved(
        account,
        spent=account.spent + (spent if lease.window == account.window else 0),
        leases={key: one for key, one in account.leases.items() if key != number},
        answered={key: ask for key, ask in account.answered.items() if key != lease.node_id},
    )


def _heard(account: LeaseAccount, lease: Lease, *, settled: int, returned: int | None = None) -> LeaseAccount:
    """Take in totals that a holder told; in a rolling window, what is new in them begins to fade now."""
    spent_since = settled - lease.settled if lease.window == account.window else 0
    lease = msgspec.structs.replace(
        lease,
        returned=lease.returned if returned is None else returned,
        settled=settled,
        signs=lease.signs + 1,
    )
    return _fade_later(msgspec.structs.replace(account, leases=_with(account, lease)), spent_since)


def _fade_later(account: LeaseAccount, amount: int) -> LeaseAccount:
    if account.frame.kind != "rolling" or amount <= 0:
        return account
    step_us = -(-account.frame.length_us // FADING_STEPS)
    leaves_us = -(-(account.latest_us + account.frame.length_us) // step_us) * step_us
    fading = dict(account.fading)
    fading[leaves_us] = fading.get(leaves_us, 0) + amount
    return msgspec.structs.replace(account, fading=tuple(fading.items()))


def _with(account: LeaseAccount, lease: Lease) -> dict[int, Lease]:
    return {**account.leases, lease.number: lease}


def _not_awaiting(account: LeaseAccount, number: int) -> LeaseAccount:
    if account.recall is None:
        return account
    recall = msgspec.structs.replace(account.recall, awaiting=account.recall.awaiting - {number})
    return msgspec.structs.replace(account, recall=recall)


def _moved(account: LeaseAccount, **changes: Any) -> LeaseAccount:
    return msgspec.structs.replace(account, moves=account.moves + 1, **changes)


_EVOLVE: dict[type[Event], Callable[[LeaseAccount, Any], LeaseAccount]] = {
    BudgetOpened: _opened,
    BudgetTermsSet: _terms_set,
    BudgetToppedUp: _topped_up,
    BudgetClosed: _closed,
    BudgetWindowOpened: _window_opened,
    BudgetSpentOutside: _spent_outside,
    LeaseWanted: _wanted,
    LeaseGranted: _granted,
    LeaseDenied: _denied,
    LeaseRecalled: _recalled,
    LeaseReturned: _returned,
    LeaseRenewed: _renewed,
    LeaseExpired: _expired,
    LeaseClosed: _lease_closed,
    LeaseReclaimed: _reclaimed,
}

"""A node's side of leases: what it may reserve of one account on its own, and what it tells of that.

Reserving and settling ask nobody. The state is a fold of the node's own requests and of what the account's
stream tells, in whatever order and however often that arrives. Two clocks come in and are never mixed: the
clock on the wall (`at_us`) says only whether a window is over; the monotonic one of the process (`ticks_us`)
counts the term of a lease, from when it was asked for or renewed, and so no later than anybody else does.

What a report tells has already been given up here. It may be sent once all that this node recorded before is
durable: a part that came free by a settlement which a crash undoes would otherwise be spent twice.
"""

from collections.abc import Callable
from typing import Any, ClassVar

from apikeyrouter.domain.account_columns import NEVER_US
from apikeyrouter.domain.events import (
    BudgetClosed,
    BudgetWindowOpened,
    Event,
    LeaseClosed,
    LeaseDenied,
    LeaseExpired,
    LeaseGranted,
    LeaseRecalled,
    LeaseReclaimed,
    LeaseRenewed,
)
from apikeyrouter.domain.held_lease import HeldLease
from apikeyrouter.domain.lease_messages import Ask, Renewal, Report
from apikeyrouter.domain.models.system_error import ConflictError


class LeaseHoldings:
    """What one node holds of one account."""

    def __init__(self, node_id: str) -> None:
        self.node_id = node_id
        self.window = 1
        self.is_closed = False
        self.leases: dict[int, HeldLease] = {}
        self.held: dict[str, tuple[int, int]] = {}
        self.question: Ask | None = None
        self.denied: LeaseDenied | None = None
        self.asked = 0
        self._asked_us = 0
        self._asked_need = 0
        self._had = 0
        self._gained = False
        self._ended: set[int] = set()
        self._recalls: dict[int, int] = {}

    # --- requests ------------------------------------------------------------------------------------

    def lease_for(self, amount: int, at_us: int, ticks_us: int) -> int | None:
        """Return the lease that so much fits into now."""
        lease = self._current()
        if lease is None or lease.is_recalled or amount > lease.idle or at_us >= lease.ends_us:
            return None
        in_term = lease.term_us is None or ticks_us < lease.good_until_us
        return lease.number if in_term else None

    def reserve(self, request_id: str, amount: int, number: int) -> None:
        """Hold an upper bound for a request."""
        self._lease(number).reserved += amount
        self.held[request_id] = (number, amount)

    def settle(self, request_id: str, amount: int) -> None:
        """Replace what is held for a request by what it cost, or by its bound where others released it."""
        number, bound = self.held.pop(request_id, (0, 0))
        lease = self.leases.get(number)
        if lease is not None:
            lease.reserved -= bound
            lease.settled += amount
            self._gained = self._gained or lease.idle > self._had

    # --- questions to the account --------------------------------------------------------------------

    def ask(self, need: int, ticks_us: int, *, nodes: int = 1, term_us: int | None = None) -> Ask:
        """Ask for what a request lacks; a question that has no answer yet is asked again as it was.

        A lease that has run out goes on with the answer. One that is recalled is not added to: what lies idle
        in it goes back with the question.
        """
        if self.question is not None:
            return self.question
        lease = self._current()
        report = None
        if lease is not None:
            report = self.give_back(lease.number) if lease.is_recalled else self.report(lease.number)
        self.asked += 1
        self._asked_us, self._asked_need, self.denied = ticks_us, need, None
        self._had, self._gained = 0 if lease is None else lease.idle, False
        self.question = Ask(
            node_id=self.node_id,
            ask=self.asked,
            amount=self._lacking(need, lease),
            nodes=nodes,
            term_us=term_us,
            report=report,
        )
        return self.question

    def is_denied(self, need: int, since: int) -> bool:
        """Tell whether a question after the one numbered `since` was answered such that so much is not there.

        It was not if more has come free here in the meantime: then it is to be asked once more.
        """
        if self.denied is None or self.denied.ask <= since:
            return False
        return need >= self._asked_need and not self._gained

    # --- what is told of leases ----------------------------------------------------------------------

    def report(self, number: int) -> Report:
        """Tell how it stands with a lease."""
        lease = self.leases[number]
        return Report(
            lease=number,
            granted=lease.granted,
            returned=lease.returned,
            settled=lease.settled,
            recall=lease.answered,
        )

    def give_back(self, number: int, keep: int = 0) -> Report:
        """Give up what lies idle, save what is to be kept, and tell; of a recalled lease nothing is kept."""
        lease = self.leases[number]
        kept = 0 if lease.is_recalled else keep
        lease.returned += max(lease.idle - kept, 0)
        if lease.is_recalled:
            lease.answered = lease.recalled
        return self.report(number)

    def recalled(self) -> list[int]:
        """Return the leases that owe an answer to a recall, or have more to give back since."""
        return [
            one.number
            for one in self.leases.values()
            if one.is_recalled and (one.idle > 0 or one.answered < one.recalled)
        ]

    def spent_and_held(self, number: int) -> tuple[int, int]:
        """Return what is settled under a lease and what is held: all that matters to whoever reclaims it."""
        lease = self.leases.get(number)
        return (0, 0) if lease is None else (lease.settled, lease.reserved)

    def finished(self) -> list[int]:
        """Return the leases that may be closed, for their window is over and nothing is held any more."""
        return [
            one.number
            for one in self.leases.values()
            if one.reserved == 0 and (one.window < self.window or self.is_closed or one.is_over)
        ]

    def close(self, number: int) -> Report:
        """Use a lease no more, and tell. Raise `ConflictError` while anything is held under it."""
        lease = self.leases[number]
        if lease.reserved:
            raise ConflictError(f"lease {number} of {self.node_id} still holds for requests under way")
        lease.is_over = True
        return self.report(number)

    def renew(self, number: int, ticks_us: int) -> Renewal:
        """Ask for another term, which counts from now."""
        lease = self.leases[number]
        lease.renewal += 1
        lease.renewed_us = ticks_us
        return Renewal(lease=number, renewal=lease.renewal, settled=lease.settled)

    # --- what the account tells ----------------------------------------------------------------------

    def see(self, event: Event) -> None:
        """Take in an event of the account's stream; those of other nodes' leases change nothing."""
        see = self._SEE.get(type(event))
        if see is not None:
            see(self, event)

    def _granted(self, event: LeaseGranted) -> None:
        self._turn(event.window)
        if event.node_id != self.node_id or event.lease in self._ended or self._is_past(event):
            return
        lease = self._lease(event.lease)
        lease.window = event.window
        if event.granted > lease.granted:
            lease.answered = 0
        if event.granted >= lease.granted:
            lease.granted, lease.exempt_until = event.granted, event.recall
            lease.ends_us = NEVER_US if event.ends_us is None else event.ends_us
            lease.term_us = event.term_us
        if self.question is not None and event.ask == self.question.ask:
            self.question = None
            if event.term_us is not None:
                lease.good_until_us = max(lease.good_until_us, self._asked_us + event.term_us)

    def _denied(self, event: LeaseDenied) -> None:
        asked = self.question
        if asked is not None and (event.node_id, event.ask) == (self.node_id, asked.ask):
            self.question, self.denied = None, event

    def _recalled(self, event: LeaseRecalled) -> None:
        for number in event.leases:
            if number in self.leases:
                lease = self.leases[number]
                lease.recalled = max(lease.recalled, event.recall)
            else:
                self._recalls[number] = max(self._recalls.get(number, 0), event.recall)

    def _renewed(self, event: LeaseRenewed) -> None:
        lease = self.leases.get(event.lease)
        if lease is not None and lease.term_us is not None and event.renewal == lease.renewal:
            lease.good_until_us = max(lease.good_until_us, lease.renewed_us + lease.term_us)

    def _expired(self, event: LeaseExpired) -> None:
        if event.lease in self.leases:
            self.leases[event.lease].is_over = True
        elif event.node_id == self.node_id:
            self._ended.add(event.lease)

    def _lease_ended(self, event: LeaseClosed | LeaseReclaimed) -> None:
        if event.node_id == self.node_id:
            self._ended.add(event.lease)
            self.leases.pop(event.lease, None)

    def _window_opened(self, event: BudgetWindowOpened) -> None:
        self._turn(event.window)

    def _budget_closed(self, _event: BudgetClosed) -> None:
        self.is_closed = True

    # --- within --------------------------------------------------------------------------------------

    def _current(self) -> HeldLease | None:
        """Return the lease of this window, if there is one."""
        current = (one for one in self.leases.values() if one.window == self.window and not one.is_over)
        return next(current, None)

    @staticmethod
    def _lacking(need: int, lease: HeldLease | None) -> int:
        return need if lease is None else max(need - lease.idle, 0)

    def _lease(self, number: int) -> HeldLease:
        if number not in self.leases:
            self.leases[number] = HeldLease(
                number=number, window=self.window, recalled=self._recalls.pop(number, 0)
            )
        return self.leases[number]

    def _is_past(self, event: LeaseGranted) -> bool:
        """Tell whether a grant is of a window that was over before this node learned of its lease."""
        return event.window < self.window and event.lease not in self.leases

    def _turn(self, window: int) -> None:
        if window > self.window:
            self.window = window
            self._ended.clear()
            self._recalls.clear()

    _SEE: ClassVar[dict[type[Event], Callable[["LeaseHoldings", Any], None]]] = {
        LeaseGranted: _granted,
        LeaseDenied: _denied,
        LeaseRecalled: _recalled,
        LeaseRenewed: _renewed,
        LeaseExpired: _expired,
        LeaseClosed: _lease_ended,
        LeaseReclaimed: _lease_ended,
        BudgetWindowOpened: _window_opened,
        BudgetClosed: _budget_closed,
    }

"""How questions for more are answered, and the events of one act in the making.

A question that fits into what is free is granted at once. One that does not is put on a list, and what lies
idle with others is recalled. Who has answered a recall keeps nothing idle until it is granted more. Once all
have answered, they are asked again; each time something moved meanwhile, once more. What came back serves the
first on the list. Only when a later round moved nothing is the answer no: when it began nobody had anything
idle, so at that instant the whole account had too little. (Two collects that agree are a snapshot: Y. Afek et
al., "Atomic Snapshots of Shared Memory", JACM 40(4), 1993.)

Others may pass the first on the list while its first round is open, so that a dead node stops nobody who
fits; afterwards nobody passes, so it comes to an end.
"""

from apikeyrouter.domain.events import (
    BudgetWindowOpened,
    Event,
    LeaseDenied,
    LeaseGranted,
    LeaseRecalled,
    LeaseReturned,
    LeaseWanted,
)
from apikeyrouter.domain.lease_folds import advance, evolve
from apikeyrouter.domain.lease_messages import Ask, Report
from apikeyrouter.domain.leases import LeaseAccount
from apikeyrouter.domain.windows import bounds

SLICES_PER_NODE = 2
"""A slice is what is free, shared among so many a node: smaller the less there is, and some is left over."""

BEYOND_REACH = "beyond_reach"
NOTHING_IDLE = "nothing_idle"


class LeaseDraft:
    """Events in the making, and the account as it will be after them."""

    def __init__(self, account: LeaseAccount, at_us: int) -> None:
        self.at_us = max(account.latest_us, at_us)
        self.account = account = advance(account, self.at_us)  # an ended top-up is not there to grant
        self.events: list[Event] = []
        if account.frame.kind == "fixed" and self.at_us >= account.ends_us and not account.is_closed:
            self._turn()

    def add(self, event: Event) -> None:
        """Decide one event."""
        self.events.append(event)
        self.account = evolve(self.account, event)

    def knows(self, ask: Ask) -> bool:
        """Tell whether a question was answered before, or is on the list."""
        asked = self.account.answered.get(ask.node_id, 0)
        return ask.ask <= max([asked, *(want.ask for want in self.account.wants if _same(want, ask))])

    def take_back(self, report: Report) -> None:
        """Take in totals of a node, where they tell something new."""
        lease, recall = self.account.leases.get(report.lease), self.account.recall
        if lease is None or lease.expired:
            return
        # Who has not seen all that it was granted has not answered for it.
        answered = report.recall if report.granted >= lease.granted else 0
        is_answer = recall is not None and lease.number in recall.awaiting and answered >= recall.number
        if report.returned > lease.returned or report.settled > lease.settled or is_answer:
            self.add(
                LeaseReturned(
                    at_us=self.at_us,
                    node_id=lease.node_id,
                    lease=lease.number,
                    returned=max(report.returned, lease.returned),
                    settled=max(report.settled, lease.settled),
                    recall=answered,
                )
            )

    def consider(self, ask: Ask) -> None:
        """Grant a question of a node, or put it on the list; who lacks nothing only goes on for a term."""
        account = self.account
        may_pass = not account.wants or account.recall is None or account.recall.is_first
        if (ask.amount <= account.free and may_pass) or not ask.amount:
            self._grant(ask.node_id, ask.ask, self._slice(ask), ask.term_us)
        elif not self._is_beyond_reach(ask.node_id, ask.ask, ask.amount):
            wanted = LeaseWanted(
                at_us=self.at_us, node_id=ask.node_id, ask=ask.ask, amount=ask.amount, term_us=ask.term_us
            )
            self.add(wanted)

    def serve(self) -> None:
        """Move the list forward as far as it goes."""
        while self.account.wants and not self._waits(self.account.wants[0]):
            pass
        recall = self.account.recall
        if recall is None or not recall.is_first:
            return
        for want in self.account.wants[1:]:
            if want.amount <= self.account.free:
                self._grant(want.node_id, want.ask, want.amount, want.term_us)

    def shrink(self) -> None:
        """Recall what lies idle where more is leased than the limit allows now."""
        idle = tuple(one.number for one in self.account.current if one.reach and not one.recalled)
        if self.account.free < 0 and idle and not self.account.is_closed:
            number = self.account.latest_recall + 1
            self.add(LeaseRecalled(at_us=self.at_us, recall=number, leases=idle))

    def _waits(self, want: LeaseWanted) -> bool:
        """Serve or deny the first on the list, or tell that it has to wait for answers to a recall."""
        account, recall = self.account, self.account.recall
        if want.amount <= account.free:
            self._grant(want.node_id, want.ask, want.amount, want.term_us)
            return False
        if self._is_beyond_reach(want.node_id, want.ask, want.amount):
            return False
        if recall is not None and recall.awaiting:
            return True
        if recall is not None and not recall.is_first and recall.moves == account.moves:
            self._deny(want.node_id, want.ask, want.amount, NOTHING_IDLE)
            return False
        self._recall_for(want.node_id)
        return True

    def _is_beyond_reach(self, node_id: str, ask: int, amount: int) -> bool:
        if amount <= self.account.free + self.account.reach_without(node_id):
            return False
        self._deny(node_id, ask, amount, BEYOND_REACH)
        return True

    def _recall_for(self, node_id: str) -> None:
        own = self.account.lease_of(node_id)
        idle = tuple(one.number for one in self.account.current if one.reach and one is not own)
        number = self.account.latest_recall + 1
        self.add(LeaseRecalled(at_us=self.at_us, recall=number, leases=idle, ask_node_id=node_id))

    def _slice(self, ask: Ask) -> int:
        """Return how much to grant: exactly what is needed where others wait, all to a node that is alone."""
        free = self.account.free
        if self.account.wants:
            return ask.amount
        if ask.nodes <= 1:
            return max(ask.amount, free)
        return max(ask.amount, free // (SLICES_PER_NODE * ask.nodes))

    def _grant(self, node_id: str, ask: int, amount: int, term_us: int | None) -> None:
        account = self.account
        lease = account.lease_of(node_id)
        granted = LeaseGranted(
            at_us=self.at_us,
            node_id=node_id,
            ask=ask,
            lease=account.latest_lease + 1 if lease is None else lease.number,
            window=account.window,
            granted=amount if lease is None else lease.granted + amount,
            ends_us=account.ends_us if account.frame.kind == "fixed" else None,
            term_us=term_us,
            recall=account.latest_recall,
        )
        self.add(granted)

    def _deny(self, node_id: str, ask: int, amount: int, reason: str) -> None:
        free = self.account.free
        denied = LeaseDenied(
            at_us=self.at_us, node_id=node_id, ask=ask, amount=amount, free=free, reason=reason
        )
        self.add(denied)

    def _turn(self) -> None:
        starts_us, ends_us = bounds(self.account.frame, self.at_us)
        window = self.account.window + 1
        self.add(BudgetWindowOpened(at_us=self.at_us, window=window, starts_us=starts_us, ends_us=ends_us))


def _same(want: LeaseWanted, ask: Ask) -> bool:
    return want.node_id == ask.node_id

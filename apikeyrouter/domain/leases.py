"""The account's side of leases: what of a window is granted to which node, and what is left to grant.

The field calls this escrow. A bounded amount is cut into parts that are set aside, and whoever holds a part
spends it without asking anyone (P. O'Neil, "The Escrow Transactional Method", ACM TODS 11(4), 1986). Parts
held by hosts that trade them by totals which only grow are bounded counters (V. Balegas et al., "Extending
Eventually Consistent Cloud Databases for Enforcing Numeric Invariants", SRDS 2015). That a part comes back
when nothing is heard of its holder is a lease (C. Gray, D. Cheriton, "Leases", SOSP 1989).

An account's state is a fold of its stream, in which nodes append by optimistic concurrency, rarely. Always
*charge ≤ limit*, where the charge is all that is leased plus what was spent under ended leases or none; as no
node spends more than its lease, what is spent and held anywhere stays within the limit, and no request asks.
Should a limit be cut below the charge, the charge never grows until it is below again.

Safety asks nothing of clocks, but two things of the log. Whatever reserves under a lease is refused once the
lease has expired (the fence), and a node's events are durable before it tells others what follows from them.
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from apikeyrouter.domain.events import LeaseWanted
from apikeyrouter.domain.windows import FOR_EVER, Window


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A part of one window, as far as the account knows: totals since the lease began.

    `signs` counts what was heard of its holder, `recalled` is the recall that it is subject to, 0: none.
    """

    number: int
    node_id: str
    window: int
    granted: int
    returned: int = 0
    settled: int = 0
    term_us: int | None = None
    signs: int = 1
    recalled: int = 0
    expired: bool = False

    @property
    def charge(self) -> int:
        """What it takes of the window: all that was not given back, and what was spent beyond that."""
        return max(self.granted - self.returned, self.settled)

    @property
    def reach(self) -> int:
        """The most of it that may lie idle."""
        return max(self.granted - self.returned - self.settled, 0)


class Recall(msgspec.Struct, frozen=True, kw_only=True):
    """A round of asking for idle parts: who has not answered yet, and how much had moved when it began."""

    number: int
    is_first: bool
    awaiting: frozenset[int]
    moves: int


class LeaseAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account at one version of its stream.

    `spent` is what ended leases spent in this window, and requests without a lease. In a rolling one, each
    amount that was told as settled leaves one length later: `fading` has those to come, with when, and
    `faded` is the sum of those gone. `answered` is the latest question of each node that has its answer,
    `moves` counts what moved money.
    """

    latest_us: int = 0
    limit: int = 0
    credits: tuple[tuple[int, int], ...] = ()
    frame: Window = Window("fixed", "total")
    is_closed: bool = False
    window: int = 1
    ends_us: int = FOR_EVER[1]
    spent: int = 0
    fading: tuple[tuple[int, int], ...] = ()
    faded: int = 0
    leases: Mapping[int, Lease] = MappingProxyType({})
    latest_lease: int = 0
    wants: tuple[LeaseWanted, ...] = ()
    answered: Mapping[str, int] = MappingProxyType({})
    latest_recall: int = 0
    recall: Recall | None = None
    moves: int = 0

    @property
    def current(self) -> list[Lease]:
        """The leases of this window; those of earlier ones only wait for their end."""
        return [lease for lease in self.leases.values() if lease.window == self.window]

    @property
    def charge(self) -> int:
        """All that is leased, and what was spent under leases that ended or under none."""
        return self.spent - self.faded + sum(lease.charge for lease in self.current)

    @property
    def free(self) -> int:
        """What may be granted; below zero after a cut of the limit."""
        return self.limit + sum(amount for _, amount in self.credits) - self.charge

    def lease_of(self, node_id: str) -> Lease | None:
        """Return what a node may spend from now."""
        return next((one for one in self.current if one.node_id == node_id and not one.expired), None)

    def reach_without(self, node_id: str) -> int:
        """Return the most that others than this node may give back."""
        own = self.lease_of(node_id)
        return sum(lease.reach for lease in self.current if lease is not own)

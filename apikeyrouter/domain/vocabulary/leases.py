"""How an account's window is shared out to nodes: stream of the account, such as budget-<id>.

Amounts are in the unit of the account: nano-USD for budgets. What a node tells or is told of a lease are
totals since the lease began, so that a message that comes twice, late or out of order changes nothing.
"""

from apikeyrouter.domain.vocabulary.shape import Event, EventRef


class BudgetWindowOpened(Event, frozen=True, kw_only=True, gc=False):
    """The account counts from zero again; `window` is the number of its windows so far."""

    window: int
    starts_us: int
    ends_us: int


class BudgetSpentOutside(Event, frozen=True, kw_only=True, gc=False):
    """So much of the present window is spent, or held at its bound, by requests that no lease covers.

    Those are the requests of a node that was alone and needed no lease, from before others joined it.
    """

    node_id: str
    amount: int


class LeaseWanted(Event, frozen=True, kw_only=True, gc=False):
    """A node needs more than is free, and waits for what other nodes hold idle.

    `ask` counts the questions of one node, and names this one in its answer.
    """

    node_id: str
    ask: int
    amount: int
    term_us: int | None = None


class LeaseGranted(Event, frozen=True, kw_only=True, gc=False):
    """A node may use so much of a window on its own: `granted` in all, this grant included.

    The lease runs out `term_us` after it was asked for or renewed, by the node's own monotonic clock; None:
    never. `recall` is the latest recall that was made before, which this grant is not subject to.
    """

    node_id: str
    ask: int
    lease: int
    window: int
    granted: int
    ends_us: int | None = None
    term_us: int | None = None
    recall: int = 0


class LeaseDenied(Event, frozen=True, kw_only=True, gc=False):
    """A node's question is answered with no: `reason` is beyond_reach or nothing_idle.

    Beyond reach: no recall could bring so much. Nothing idle: every node was asked, twice, and had nothing
    to give in between, so that at one instant the whole account had no more than `free`.
    """

    node_id: str
    ask: int
    amount: int
    free: int
    reason: str


class LeaseRecalled(Event, frozen=True, kw_only=True, gc=False):
    """These leases are to give back what lies idle, now and until they are granted more.

    `ask_node_id` waits for it; None: the limit was cut below what is leased.
    """

    recall: int
    leases: tuple[int, ...]
    ask_node_id: str | None = None


class LeaseReturned(Event, frozen=True, kw_only=True, gc=False):
    """A node gave back an unused part, `returned` in all; `recall` is the latest one that this answers."""

    node_id: str
    lease: int
    returned: int
    settled: int
    recall: int = 0


class LeaseRenewed(Event, frozen=True, kw_only=True, gc=False):
    """A node is alive and keeps a lease for another term; `settled` is what it has spent under it so far."""

    node_id: str
    lease: int
    renewal: int
    settled: int


class LeaseClosed(Event, frozen=True, kw_only=True, gc=False):
    """A node ended a lease in good order: `settled` was spent, nothing is held any more, the rest is free."""

    node_id: str
    lease: int
    settled: int


class LeaseExpired(Event, frozen=True, kw_only=True, gc=False):
    """The holder of a lease is given up: nothing may be reserved under it from here on.

    `trigger` is silent, then `silent_us` tells how long nothing was heard by the monotonic clock of the node
    `by_node_id`, or node_ended, where that is known for certain.
    """

    node_id: str
    lease: int
    trigger: str
    silent_us: int = 0
    by_node_id: str


class LeaseReclaimed(Event, frozen=True, kw_only=True, gc=False):
    """An expired lease was closed from the events of its node: `settled` was spent for certain.

    `forfeited` is what was reserved and never settled, which counts as spent at its bound.
    """

    node_id: str
    lease: int
    settled: int
    forfeited: int
    evidence: tuple[EventRef, ...] = ()

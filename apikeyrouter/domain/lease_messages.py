"""What nodes tell an account of their leases: totals since a lease began, in the unit of the account."""

import msgspec


class Report(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How a node stands with a lease: how much of it it has seen, given back and spent.

    `recall` is the latest recall after which nothing lay idle any more.
    """

    lease: int
    granted: int
    returned: int
    settled: int
    recall: int = 0


class Ask(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A node needs `amount` more than it has. `ask` counts its questions; `nodes` are alive, itself included.

    `report` tells how it stands with its lease, so that what it gives back cannot arrive after its question.
    """

    node_id: str
    ask: int
    amount: int
    nodes: int = 1
    term_us: int | None = None
    report: Report | None = None


class Renewal(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A node wants to keep a lease for another term; `renewal` counts these."""

    lease: int
    renewal: int
    settled: int


class Silence(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A node heard nothing of a lease for `silent_us` since its sign number `signs`.

    `node_ended`: the holder is known to have ended, whatever its term.
    """

    lease: int
    by_node_id: str
    signs: int = 0
    silent_us: int = 0
    node_ended: bool = False

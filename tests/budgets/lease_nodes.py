"""What the leases' tests are made of: budgets, nodes with clocks of their own, requests."""

from dataclasses import dataclass, field

from apikeyrouter.domain.events import BudgetOpened, BudgetTerms
from apikeyrouter.domain.lease_holdings import LeaseHoldings
from apikeyrouter.domain.lease_watch import LeaseWatch

START_US = 1_760_000_000_000_000
SECOND_US = 1_000_000
TERM_US = 30 * SECOND_US


def terms(limit, kind="fixed", unit="day", seconds=0):
    return BudgetTerms(limit_nano_usd=limit, kind=kind, unit=unit, seconds=seconds, enforcement="hard")


def opened(limit, kind="fixed", unit="day", seconds=0):
    return BudgetOpened(at_us=START_US, actor="t", scope="global", terms=terms(limit, kind, unit, seconds))


@dataclass
class Request:
    """What one request takes, as its node believes and as the log has it."""

    lease: int
    bound: int
    believed: int
    logged: int = 0
    is_open: bool = False
    is_released: bool = False
    spent_us: int = 0


@dataclass
class Node:
    """A process: its holdings, what it has not made durable yet, and its two clocks."""

    node_id: str
    holdings: LeaseHoldings
    watch: LeaseWatch
    wall_offset_us: int = 0
    ticks_offset_us: int = 0
    alive: bool = True
    pending: list = field(default_factory=list)
    outbox: list = field(default_factory=list)
    journal: list = field(default_factory=list)
    unseen: list = field(default_factory=list)
    waiting: dict = field(default_factory=dict)
    out: list = field(default_factory=list)
    refused: list = field(default_factory=list)

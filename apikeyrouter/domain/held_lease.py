"""A lease as its holder knows it."""

from typing import Final

import msgspec

from apikeyrouter.domain.account_columns import NEVER_US

NOT_COUNTED: Final = -1
"""The end of a term whose beginning this node does not know: the lease must be renewed before it is used."""


class HeldLease(msgspec.Struct, kw_only=True):
    """What a node knows of one of its leases: totals, and what is held for requests now.

    `exempt_until` is the latest recall that its last grant is not subject to, `recalled` the latest it is.
    """

    number: int
    window: int
    granted: int = 0
    returned: int = 0
    settled: int = 0
    reserved: int = 0
    ends_us: int = NEVER_US
    term_us: int | None = None
    good_until_us: int = NOT_COUNTED
    exempt_until: int = 0
    recalled: int = 0
    answered: int = 0
    renewal: int = 0
    renewed_us: int = 0
    is_over: bool = False

    @property
    def idle(self) -> int:
        """What is neither given back nor spent nor held; below zero where more was spent than held."""
        return self.granted - self.returned - self.settled - self.reserved

    @property
    def is_recalled(self) -> bool:
        """Tell whether what lies idle is to go back."""
        return self.recalled > self.exempt_until

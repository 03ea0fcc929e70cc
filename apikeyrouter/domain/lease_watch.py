"""Who has been silent too long, measured by the observer's own monotonic clock and never by times in events.

A term is counted from when the observer first saw a sign of the holder, so later than the holder counts it.
An observer that starts anew counts anew. Setting the clock on the wall, anybody's, changes nothing.
"""

from collections.abc import Iterator

from apikeyrouter.domain.lease_messages import Silence
from apikeyrouter.domain.leases import LeaseAccount


class LeaseWatch:
    """What one node has heard of the leases of one account."""

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id
        self._heard: dict[int, tuple[int, int]] = {}

    def look(self, account: LeaseAccount, ticks_us: int) -> None:
        """Note which signs are new; `ticks_us` is the monotonic time of this process."""
        signs = {lease.number: lease.signs for lease in account.leases.values()}
        self._heard = {
            number: self._heard[number] if self._signs(number) == count else (count, ticks_us)
            for number, count in signs.items()
        }

    def overdue(self, account: LeaseAccount, ticks_us: int) -> Iterator[Silence]:
        """Yield the leases of others whose term has passed without a sign."""
        self.look(account, ticks_us)
        for lease in account.leases.values():
            signs, heard_us = self._heard[lease.number]
            silent_us = ticks_us - heard_us
            if lease.expired or lease.node_id == self._node_id or lease.term_us is None:
                continue
            if silent_us > lease.term_us:
                yield Silence(lease=lease.number, by_node_id=self._node_id, signs=signs, silent_us=silent_us)

    def _signs(self, number: int) -> int:
        return self._heard.get(number, (0, 0))[0]

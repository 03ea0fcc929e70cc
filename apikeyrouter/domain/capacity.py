"""What is left of the quotas of a pool's keys: does the request fit, and will they last."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from apikeyrouter.domain.columns import Floats, Rows
from apikeyrouter.domain.events import RequestFacts, Reserved
from apikeyrouter.domain.input_bounds import body_bound
from apikeyrouter.domain.output_bounds import usual_output
from apikeyrouter.domain.pool_accounts import Accounting
from apikeyrouter.domain.pools import Pool
from apikeyrouter.domain.quotas import Amounts
from apikeyrouter.domain.state import RouterState

least_of_each = np.minimum.reduceat
most_of_each = np.maximum.reduceat


class Capacity(NamedTuple):
    """One entry an account that the pool draws on in the first two, one entry a limited member in the rest.

    `left` is the share of the limit that remains after this request, `exhaustion` the probability that
    demand runs over the limit before the window gives back.
    """

    accounting: Accounting
    fits: NDArray[np.bool_]
    left: Floats
    least_left: Floats
    exhaustion: Floats

    def by_member(self, values: Floats, otherwise: float, count: int) -> Floats:
        """Spread values of limited members over all members of the pool."""
        if len(values) == count:
            return values
        spread = np.full(count, otherwise)
        spread[self.accounting.limited] = values
        return spread

    def tightest(self, member: int) -> int | None:
        """Return the account of a member of which the least is left."""
        places = self.accounting.places.get(member)
        if places is None:
            return None
        return int(self.accounting.rows[places.start + self.left[places].argmin()])


def capacity_of(state: RouterState, pool: Pool, facts: RequestFacts) -> Capacity | None:
    """Look at every account that the pool draws on; None where nobody has limits."""
    accounting = pool.accounting
    if accounting is None:
        return None
    accounts = state.quotas.accounts
    rows = accounting.rows
    ask = np.array(asked(facts)).take(accounting.dimensions)
    limit = accounts.limit.take(rows)
    remaining = limit - accounts.used_of(rows)
    left = (remaining - ask) / limit
    return Capacity(
        accounting=accounting,
        fits=remaining >= ask,
        left=left,
        least_left=least_of_each(left, accounting.starts),
        exhaustion=most_of_each(state.quotas.exhaustion.take(rows), accounting.starts),
    )


def asked(facts: RequestFacts) -> Amounts:
    """Bound what a request takes from above; a caller who sets no bound is taken to want the usual."""
    return Amounts.of(body_bound(facts), usual_output(facts))


def reserved_for(state: RouterState, key_id: str, model: str, facts: RequestFacts) -> tuple[Reserved, ...]:
    """Return what a request on a key holds of each account until its consumption is known."""
    quotas, amounts = state.quotas, asked(facts)
    return tuple(
        Reserved(quotas.by_row[row].account_id, amounts[quotas.places[row]])
        for row in quotas.rows_for(key_id, model)
    )


def refused_members(capacity: Capacity) -> Rows:
    """Return the members of which at least one account has not enough left."""
    return np.unique(capacity.accounting.members[~capacity.fits])

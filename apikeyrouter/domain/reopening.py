"""When a request that nobody could serve now could be served, as far as is known."""

from collections.abc import Sequence

from apikeyrouter.domain.capacity import asked
from apikeyrouter.domain.events import RequestFacts
from apikeyrouter.domain.models.api_key import ELIGIBLE_STATES
from apikeyrouter.domain.pools import Member, Pool
from apikeyrouter.domain.state import RouterState

MOST_ASKED = 256


def reopens_at_us(
    state: RouterState, pool: Pool, facts: RequestFacts, tried: Sequence[str], at_us: int
) -> int | None:
    """Return the earliest instant at which a key is expected back; None where only an event can tell.

    Counted from `at_us`, by the clock that rests are told by, even where the state has come further.
    """
    untried = [member for member in pool.members if member.key.key_id not in tried]
    instants = (_member_reopens(state, member, facts, at_us) for member in untried[:MOST_ASKED])
    later = [instant for instant in instants if instant is not None and instant > at_us]
    return min(later, default=None)


def _member_reopens(state: RouterState, member: Member, facts: RequestFacts, at_us: int) -> int | None:
    """Return when the last of what keeps a key back is over; None where that may be never."""
    key = state.keys[member.key.key_id]
    if key.until_us is None and key.state not in ELIGIBLE_STATES:
        return None
    waits = [key.until_us or at_us, state.unwell.get(key.provider_id) or at_us]
    quotas, amounts = state.quotas, asked(facts)
    for row in quotas.rows_for(key.key_id, member.model):
        now_us = quotas.accounts.now_us
        fits_at_us = quotas.accounts.fits_at(row, amounts[quotas.places[row]], now_us)
        if fits_at_us is None:
            return None
        waits.append(at_us + fits_at_us - now_us)
    return max(waits)

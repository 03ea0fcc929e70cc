"""What is decided about leases: each act gives the events to append to the account's stream, maybe none.

Acts may come twice, late or out of order, as messages do: what is known already gives no event.
"""

from apikeyrouter.domain.events import (
    BudgetSpentOutside,
    Event,
    EventRef,
    LeaseClosed,
    LeaseExpired,
    LeaseReclaimed,
    LeaseRenewed,
)
from apikeyrouter.domain.lease_drafts import LeaseDraft
from apikeyrouter.domain.lease_messages import Ask, Renewal, Report, Silence
from apikeyrouter.domain.leases import Lease, LeaseAccount
from apikeyrouter.domain.models.system_error import ConflictError

SILENT = "silent"
NODE_ENDED = "node_ended"


def answer(account: LeaseAccount, ask: Ask, at_us: int) -> list[Event]:
    """Grant what a node asks for, put it on the list, or deny it."""
    draft = LeaseDraft(account, at_us)
    if draft.account.is_closed:
        return draft.events
    if ask.report is not None:
        draft.take_back(ask.report)
    if not draft.knows(ask):
        draft.consider(ask)
    draft.serve()
    return draft.events


def take_back(account: LeaseAccount, report: Report, at_us: int) -> list[Event]:
    """Take in what a node gave back, and pass it on to those who wait."""
    draft = LeaseDraft(account, at_us)
    draft.take_back(report)
    draft.serve()
    return draft.events


def renew(account: LeaseAccount, renewal: Renewal, at_us: int) -> list[Event]:
    """Let a lease run for another term; one that has expired stays so."""
    draft = LeaseDraft(account, at_us)
    lease = draft.account.leases.get(renewal.lease)
    if lease is not None and not lease.expired:
        draft.add(
            LeaseRenewed(
                at_us=draft.at_us,
                node_id=lease.node_id,
                lease=lease.number,
                renewal=renewal.renewal,
                settled=max(lease.settled, renewal.settled),
            )
        )
    return draft.events


def close_lease(account: LeaseAccount, report: Report, at_us: int) -> list[Event]:
    """End a lease under which its node holds nothing any more; an expired one is left to be reclaimed."""
    draft = LeaseDraft(account, at_us)
    lease = draft.account.leases.get(report.lease)
    if lease is not None and not lease.expired:
        draft.add(
            LeaseClosed(at_us=draft.at_us, node_id=lease.node_id, lease=lease.number, settled=report.settled)
        )
        draft.serve()
    return draft.events


def expire(account: LeaseAccount, silence: Silence, at_us: int) -> list[Event]:
    """Give up the holder of a lease: nothing may be reserved under it any more. Its amount stays charged.

    It must have been silent for more than its term, with nothing heard since; or be known to have ended.
    """
    draft = LeaseDraft(account, at_us)
    lease = draft.account.leases.get(silence.lease)
    if lease is None or lease.expired:
        return draft.events
    if not silence.node_ended and not _is_overdue(lease, silence):
        return draft.events
    draft.add(
        LeaseExpired(
            at_us=draft.at_us,
            node_id=lease.node_id,
            lease=lease.number,
            trigger=NODE_ENDED if silence.node_ended else SILENT,
            silent_us=silence.silent_us,
            by_node_id=silence.by_node_id,
        )
    )
    return draft.events


def reclaim(
    account: LeaseAccount, report: Report, forfeited: int, at_us: int, evidence: tuple[EventRef, ...] = ()
) -> list[Event]:
    """Close an expired lease from its node's own events, read after it had expired.

    `report.settled` is what they settled; `forfeited` what they held and nobody settles any more, which
    counts at its bound, as its requests are released by whoever reclaims. Raise `ConflictError` before.
    """
    draft = LeaseDraft(account, at_us)
    lease = draft.account.leases.get(report.lease)
    if lease is None:
        return draft.events
    if not lease.expired:
        raise ConflictError(f"lease {lease.number} of {lease.node_id} has not expired; its node may go on")
    draft.add(
        LeaseReclaimed(
            at_us=draft.at_us,
            node_id=lease.node_id,
            lease=lease.number,
            settled=report.settled,
            forfeited=forfeited,
            evidence=evidence,
        )
    )
    draft.serve()
    return draft.events


def take_over(account: LeaseAccount, node_id: str, amount: int, at_us: int) -> list[Event]:
    """Count what a node spent and holds of this window without a lease, before it and others have any."""
    draft = LeaseDraft(account, at_us)
    if amount > 0:
        draft.add(BudgetSpentOutside(at_us=draft.at_us, node_id=node_id, amount=amount))
    return draft.events


def review(account: LeaseAccount, at_us: int) -> list[Event]:
    """See to what time and administrators changed: a new window, more for those who wait, a limit cut."""
    draft = LeaseDraft(account, at_us)
    draft.serve()
    draft.shrink()
    return draft.events


def _is_overdue(lease: Lease, silence: Silence) -> bool:
    if lease.term_us is None or lease.signs != silence.signs:
        return False
    return silence.silent_us > lease.term_us

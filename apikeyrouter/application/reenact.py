"""Send one recorded request through the line again, in the world of its time, and compare what is recorded.

This is the line itself, not the decision alone: upkeep, failover, settlement and all that follows run once
more, against an upstream that answers as recorded. What others did meanwhile happens when it happened.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec

from apikeyrouter.application.durability import Durability
from apikeyrouter.application.impatient_loop import run_at_once
from apikeyrouter.application.passage import Order, Passage
from apikeyrouter.application.providers import ProviderRegistry
from apikeyrouter.application.recorded_upstream import NoVault, RecordedUpstream
from apikeyrouter.application.recorded_world import (
    RecordedChance,
    RecordedJournal,
    RecordedTime,
    RecordingLog,
)
from apikeyrouter.application.replay import Difference, difference
from apikeyrouter.application.retrace import follows
from apikeyrouter.application.route_request import RouteRequest
from apikeyrouter.application.what_if.evidence import failure_in
from apikeyrouter.application.what_if.outcomes import outcome_in, usage_in
from apikeyrouter.application.what_if.world import PastLearning
from apikeyrouter.domain.deferral import BEHIND_OTHERS
from apikeyrouter.domain.events import (
    AttemptFailed,
    Recorded,
    RequestCancelled,
    RequestCompleted,
    RequestFailed,
    RequestReleased,
    RouteDecided,
    RouteDeferred,
    RouteRefused,
    canonical_bytes,
)
from apikeyrouter.domain.failures import KeyEffect
from apikeyrouter.domain.models.system_error import SystemError as RouterError
from apikeyrouter.domain.state import RouterState

AGES_US = 10**14
MOST_ATTEMPTS = 1_000_000
LEAST_WAIT_US = 1


class Reenactment(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: the events that were made again, and the first that differs.

    `unable` says why it was not tried, where the record does not have what the line saw.
    """

    made: tuple[Recorded, ...] = ()
    expected: tuple[Recorded, ...] = ()
    different: Difference | None = None
    unable: str | None = None

    @property
    def identical(self) -> bool:
        """True if every event came out to the same bytes, and no other did."""
        return self.unable is None and self.different is None


def reenact(events: Iterable[Recorded], own: Sequence[Recorded]) -> Reenactment:
    """Run a request again; `own` are its recorded events, `events` the log in order, up to `end_of` those.

    Not from within a running event loop: it has one of its own, in which waiting takes no time.
    """
    stream, first = own[0].stream, own[0].position
    unable = _unable(own)
    if unable is not None:
        return Reenactment(unable=unable)
    state, coming = RouterState(), []
    for recorded in events:
        if recorded.position < first:
            state.evolve(*recorded)
        elif recorded.position <= own[-1].position or follows(recorded, stream):
            coming.append(recorded)
    time = RecordedTime(state, coming, stream)
    log = RecordingLog(time)
    run_at_once(_run(time, log, own))
    return _compared(log.made, time.own)


def _unable(own: Sequence[Recorded]) -> str | None:
    events = [recorded.event for recorded in own]
    last = events[-1]
    if own[0].version != 1 or not isinstance(last, ENDS):
        return "it has not ended, or its beginning is not in the log"
    if any(isinstance(event, RouteDeferred) and event.reason == BEHIND_OTHERS for event in events):
        return "it stood behind others in a queue, which no log holds"
    if isinstance(last, RequestReleased):
        return f"it was ended from outside the line ({last.trigger})"
    if isinstance(last, RequestFailed) and last.failure == "internal_error":
        return "it ended by an error of the router itself"
    return None


ENDS = RequestCompleted | RequestFailed | RequestCancelled | RequestReleased | RouteRefused


async def _run(time: RecordedTime, log: RecordingLog, own: Sequence[Recorded]) -> None:
    journal = RecordedJournal(log, time)
    learning = PastLearning(journal)
    learning.is_recorded = True
    route = RouteRequest(
        journal=journal,
        providers=_everybody(time),
        vault=NoVault(),
        clock=time,
        entropy=RecordedChance(time, own[0].stream.removeprefix("request-")),
        durability=Durability.Strict,
        max_attempts=_most_attempts(own),
        timeout_us=AGES_US,
        queue_timeout_us=_may_wait_us(own),
        learning=learning,
    )
    with contextlib.suppress(RouterError, asyncio.CancelledError):
        passage, _ = await route.open_stream(_order(own))
        await _end(route, passage, time)


async def _end(route: RouteRequest, passage: Passage, time: RecordedTime) -> None:
    """Let the answer end as recorded: its counts and its hash are there, its text is not."""
    match time.coming():
        case RequestCompleted() as completed:
            await route.settle(passage, outcome_in(completed))
        case RequestCancelled() as left:
            time.since_us = left.elapsed_us
            leaves = asyncio.CancelledError()
            route.abandon(passage, leaves, usage=usage_in(left), response_bytes=left.response_bytes)
        case AttemptFailed() as failed:
            end = [recorded.event for recorded in time.own if isinstance(recorded.event, RequestFailed)][-1]
            time.since_us = passage.attempt_started_us + failed.elapsed_us
            failure = failure_in(failed)
            await route.break_off(passage, failure, usage_in(end), end.response_bytes)


def _everybody(time: RecordedTime) -> ProviderRegistry:
    providers = ProviderRegistry()
    for provider_id in time.state.providers:
        providers.attach(provider_id, RecordedUpstream(time))
    return providers


def _order(own: Sequence[Recorded]) -> Order:
    asked = [recorded.event for recorded in own if isinstance(recorded.event, RouteDecided | RouteRefused)]
    return Order(facts=asked[0].facts, policy=asked[0].policy, body=b"{}")


def _most_attempts(own: Sequence[Recorded]) -> int:
    last = own[-1].event
    return last.attempts if isinstance(last, RequestFailed) else MOST_ATTEMPTS


def _may_wait_us(own: Sequence[Recorded]) -> int:
    """Return how long the request might have waited; where it never did, whether it might tells itself.

    A key that rests after a refusal is not ruled out for a request that may wait for it.
    """
    events = [recorded.event for recorded in own]
    waits = [event.wait_until_us - event.at_us for event in events if isinstance(event, RouteDeferred)]
    spared = any(
        isinstance(failed, AttemptFailed)
        and failed.effect == KeyEffect.Throttle
        and isinstance(asked, RouteDecided | RouteRefused)
        and failed.key_id not in asked.tried
        for failed, asked in pairwise(events)
    )
    return max(waits, default=LEAST_WAIT_US if spared else 0)


def _compared(made: Sequence[Recorded], expected: Sequence[Recorded]) -> Reenactment:
    different = None
    for one, again in zip(expected, made, strict=False):
        same_place = one[:3] == again[:3]
        if not same_place or canonical_bytes(one.event) != canonical_bytes(again.event):
            different = difference(one, again.event)
            break
    if different is None and len(made) != len(expected):
        longer = expected if len(expected) > len(made) else made
        left = longer[min(len(made), len(expected))]
        told = "recorded" if longer is expected else "made again"
        place = left.position, left.stream, left.version
        different = Difference(*place, "event", type(left.event).__name__, f"only {told}")
    return Reenactment(made=tuple(made), expected=tuple(expected), different=different)

"""State and log in one step: what is recorded is folded at once, and durable when its future says so.

If an append fails, the state is ahead of the log. Then nothing is recorded any more until the log can be
written again and the state has been folded anew from what is stored.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from apikeyrouter.application.notices import notices
from apikeyrouter.application.ports import Clock, EventLog, EventReader
from apikeyrouter.application.snapshots.folding import present
from apikeyrouter.application.snapshots.ports import NO_SNAPSHOTS, Snapshots
from apikeyrouter.domain.events import (
    CATALOGUE_STREAM,
    LOG_STREAM,
    RETENTION_STREAM,
    AttemptFailed,
    ClockSteppedBack,
    Event,
    LogRecovered,
    NewEvent,
    Recorded,
    StateRefolded,
    key_stream,
)
from apikeyrouter.domain.models.system_error import LogUnavailableError
from apikeyrouter.domain.state import RouterState

RETRY_S = 0.25
NEVER_US = -1


class Journal:
    """The state in memory, and the log that it is a fold of."""

    def __init__(
        self,
        log: EventLog,
        clock: Clock,
        node_id: str,
        *,
        waited: Callable[[int], None] = lambda _us: None,
        snapshots: Snapshots = NO_SNAPSHOTS,
        past: EventReader | None = None,
    ) -> None:
        """Wire the journal; `waited` is told how many microseconds each wait for durability took.

        `past` reads the log with what has left it; None where nothing ever does.
        """
        self.log = log
        self._past = past or log
        self._without = 0
        self._waited = waited
        self.state = RouterState()
        self.ready = False
        self.base = 0
        self._snapshots = snapshots
        self._clock = clock
        self._node_id = node_id
        self._owed: dict[str, list[Event]] = {}
        self._restoring: asyncio.Task[None] | None = None
        self._closed = False
        self._heard: Callable[[], None] = lambda: None
        self._restored: Callable[[int], None] = lambda _at_us: None
        self._met_us = 0
        self._recorded_us = 0

    async def open(self) -> None:
        """Fold the log, from the nearest snapshot on; `base` is then the position of that."""
        self.state = await asyncio.to_thread(self._fold)
        self._met_us = self._recorded_us = self.state.latest_us
        self.ready = True
        refolded = self._refolded(self.state)
        if refolded:
            await self.settled(self.record(refolded))

    @property
    def exact(self) -> bool:
        """True while a fold of what was recorded gives this state: no decision moved its present since."""
        return self.state.latest_us == self._recorded_us

    def history_of_keys(self) -> list[Recorded]:
        """Return what the log says of keys and providers, for views that begin with this process."""
        streams = [CATALOGUE_STREAM, *(key_stream(key_id) for key_id in self.state.keys)]
        events = [recorded for stream in streams for recorded in self.log.stream(stream)]
        return sorted(events, key=lambda recorded: recorded.position)

    def meet(self, at_us: int) -> None:
        """Flag a clock that was set back before anything is decided by it, since a decision tells its place.

        Decisions that are not recorded move the present too: what was met counts, not only what was recorded.
        """
        if at_us < self._met_us:
            self.record((self._step_back(at_us),))
        self._met_us = at_us

    def record(self, events: Sequence[NewEvent]) -> asyncio.Future[None]:
        """Append and fold events in one uninterrupted step; they are durable together, or not at all."""
        if not self.ready:
            raise unavailable()
        events = self._flagged(events)
        try:
            durable = self.log.append(events)
        except LogUnavailableError:
            self.fall_behind()
            raise unavailable() from None
        self.state.apply(events)
        self._met_us = at_us = events[-1].event.at_us
        self._recorded_us = max(self._recorded_us, at_us)
        self._heard()
        return durable

    def together(self) -> contextlib.AbstractContextManager[None]:
        """Let all that is recorded within become durable all or none. Nothing may be awaited within."""
        return self.log.together()

    def record_next(self, stream: str, *events: Event) -> asyncio.Future[None]:
        """Record events as the next ones of a stream; not of a request's, which counts its own."""
        first = self.state.next_version(stream)
        return self.record([NewEvent(stream, version, event) for version, event in enumerate(events, first)])

    def listen(self, heard: Callable[[], None]) -> None:
        """Call `heard` after whatever is recorded from now on."""
        self._heard = heard

    def after_outages(self, restored: Callable[[int], None]) -> None:
        """Call `restored` with the time whenever recording works again: ends were written meanwhile."""
        self._restored = restored

    async def settled(self, durable: asyncio.Future[None]) -> None:
        """Wait until events are durable; if they never will be, stop recording and start restoring."""
        since_us = self._clock.elapsed_us()
        try:
            await durable
        except LogUnavailableError:
            self.fall_behind()
            raise unavailable() from None
        self._waited(self._clock.elapsed_us() - since_us)

    def owe(self, stream: str, event: Event) -> None:
        """Keep what could not be written of a request until it can; nothing follows its first end."""
        known = self._owed.setdefault(stream, [])
        if not known or isinstance(known[-1], AttemptFailed):
            known.append(event)
        self.fall_behind()

    def fall_behind(self) -> None:
        """Refuse to record until the log works again."""
        self._recorded_us = NEVER_US
        if self.ready:
            self.ready = False
            notices().error("log_append_failed", node_id=self._node_id)
        if not self._closed and (self._restoring is None or self._restoring.done()):
            self._restoring = asyncio.get_running_loop().create_task(self._restore())

    async def close(self) -> None:
        """Write what is pending and close the log."""
        self._closed = True
        if self._restoring is not None:
            self._restoring.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._restoring
        self.ready = False
        await self.log.close()

    async def _restore(self) -> None:
        since_us = self._clock.elapsed_us()
        while True:
            await asyncio.sleep(RETRY_S)
            with contextlib.suppress(LogUnavailableError):
                await self._try_restore(since_us)
                return

    async def _try_restore(self, since_us: int) -> None:
        await self.log.reopen()
        state = await asyncio.to_thread(self._fold)
        self.state = state
        self._met_us = state.latest_us
        at_us = self._clock.now_us()
        outage_us = self._clock.elapsed_us() - since_us
        recovered = LogRecovered(at_us=at_us, node_id=self._node_id, outage_us=outage_us)
        due = {stream: tuple(events) for stream, events in self._owed.items()}
        owed = [
            NewEvent(stream, version, event)
            for stream, events in due.items()
            if stream in state.open_requests
            for version, event in enumerate(events, state.open_requests[stream].version + 1)
        ]
        restored = NewEvent(LOG_STREAM, state.next_version(LOG_STREAM), recovered)
        events = self._flagged([*self._refolded(state), *owed, restored])
        durable = self.log.append(events)
        state.apply(events)
        self._met_us = self._recorded_us = state.latest_us
        await durable
        for stream, written in due.items():
            del self._owed[stream][: len(written)]
        self._owed = {stream: left for stream, left in self._owed.items() if left}
        if self._owed:
            raise unavailable()  # what ended while these were written is owed still: once more
        self.ready = True
        self._restored(at_us)
        self._heard()
        notices().info("log_recovered", node_id=self._node_id, outage_us=outage_us)

    def _flagged(self, events: Sequence[NewEvent]) -> Sequence[NewEvent]:
        """Put a flag before events that bear an earlier time than what came before."""
        at_us = events[0].event.at_us
        if at_us >= self._met_us:
            return events
        moved = (new._replace(version=new.version + (new.stream == LOG_STREAM)) for new in events)
        return [self._step_back(at_us), *moved]

    def _step_back(self, at_us: int) -> NewEvent:
        """Flag that time went back; its own time tells a replay how far the state had come."""
        state = self.state
        by_us = self._met_us - at_us
        self._recorded_us = state.latest_us
        flag = ClockSteppedBack(at_us=state.latest_us, node_id=self._node_id, by_us=by_us)
        return NewEvent(LOG_STREAM, state.next_version(LOG_STREAM), flag)

    def _refolded(self, state: RouterState) -> list[NewEvent]:
        """Tell replays before anything is decided that the state does without what left the log."""
        if not self._without:
            return []
        at_us, version = self._clock.now_us(), state.next_version(RETENTION_STREAM)
        told = StateRefolded(at_us=at_us, node_id=self._node_id, behind=state.position, events=self._without)
        return [NewEvent(RETENTION_STREAM, version, told)]

    def _fold(self) -> RouterState:
        self.base, state, self._without, reason = present(self._past, self.log, self._snapshots)
        if self._without:
            notices().warning(
                "folded_without_archived_requests",
                reason=reason,
                hint="money and quotas are exact; averages of latency, success and demand begin anew",
            )
        return state


def unavailable() -> LogUnavailableError:
    """Say that the log cannot be written, and that nothing was sent."""
    return LogUnavailableError(
        "the audit log cannot be written, so no request is sent; it is retried by itself", retry_after=1.0
    )

"""Let go what may go: archived, verified, recorded and sealed before the first row is deleted.

Whatever dies in between, either nothing was recorded and every row is there, or the event is sealed and the
next start deletes the rest.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from apikeyrouter.application.journal import Journal
from apikeyrouter.application.notices import notices
from apikeyrouter.application.ports import Clock
from apikeyrouter.application.retention.choosing import MOST_SEGMENTS, Choice, Chosen, choose, chooser_for
from apikeyrouter.application.retention.deleting import Deletion
from apikeyrouter.application.retention.letting import Letting, Step
from apikeyrouter.application.retention.ports import Laid, Shelf
from apikeyrouter.application.retention.rehearsal import rehearse
from apikeyrouter.application.snapshots.ports import Frozen, Snapshots
from apikeyrouter.domain.events import RETENTION_STREAM, SegmentDropped
from apikeyrouter.domain.models.system_error import ConfigurationError, ConflictError
from apikeyrouter.domain.models.system_error import SystemError as RouterError
from apikeyrouter.domain.retention import Segment
from apikeyrouter.domain.retention_cut import cut_of
from apikeyrouter.limits import MOST_SEGMENT_EVENTS

PAUSE_S = 0.004
"""After every hundred events that are folded, some 2 ms: requests get the interpreter in between."""


class Dropping:
    """Drops what the retention of one log lets go; one run at a time.

    `shelf` is None where the log lives in memory. `gone` is told, in a thread, when rows have left.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        clock: Clock,
        shelf: Shelf | None,
        snapshots: Snapshots | None = None,
        gone: Callable[[], None] = lambda: None,
        most_events: int = MOST_SEGMENT_EVENTS,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._shelf = shelf
        self._snapshots = snapshots
        self._gone = gone
        self._most_events = most_events
        self._task: asyncio.Task[None] | None = None
        self.run: Letting | None = None

    @property
    def busy(self) -> bool:
        """True while a run is under way."""
        return self._task is not None and not self._task.done()

    def shelf(self) -> Shelf:
        """Return where segments are laid, or say that this log has no such place."""
        if self._shelf is None:
            raise ConfigurationError(
                "this log lives in memory: nothing of it is archived, and it ends with the process",
                param="database_url",
            )
        return self._shelf

    def names(self) -> list[str]:
        """Return the segments that lie beside the log."""
        return [] if self._shelf is None else self._shelf.names()

    async def outlook(self, until_us: int | None = None) -> Letting:
        """Tell what a run would drop now; nothing is changed."""
        self.shelf()
        run = Letting(cut=cut_of(self._journal.state, self._clock.now_us(), until_us))
        choice = await self._choose(run)
        if choice is not None and choice.segments:
            run.step = Step.Rehearsing
            await self._rehearse(choice)
            run.events = sum(one.events for one in choice.segments)
            run.requests = sum(one.requests for one in choice.segments)
        run.step = Step.Done
        return run

    def begin(self, *, actor: str, until_us: int | None = None, folder: Path | None = None) -> Letting:
        """Begin a run in the background; ask `run` how far it has come."""
        self.shelf()
        if self.busy:
            raise ConflictError("a run is under way already: `retention status` tells how far it has come")
        self.run = Letting(cut=cut_of(self._journal.state, self._clock.now_us(), until_us))
        self._task = asyncio.get_running_loop().create_task(self._to_its_end(self.run, actor, folder))
        return self.run

    def finish(self) -> None:
        """Delete what a sealed event says was dropped, where a process died in between; in the background."""
        if self._shelf is not None and self._journal.state.retention.removing and not self.busy:
            self.run = Letting(step=Step.Sealing)
            self._task = asyncio.get_running_loop().create_task(self._finish(self.run))

    async def wait(self) -> None:
        """Wait for the run that is under way."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def close(self) -> None:
        """Stop a run between two steps; the next start goes on with what was recorded."""
        if self._task is not None:
            self._task.cancel()
            await self.wait()

    async def _to_its_end(self, run: Letting, actor: str, folder: Path | None) -> None:
        try:
            choice = await self._choose(run)
            if choice is not None and choice.segments:
                run.step = Step.Rehearsing
                base = await self._rehearse(choice)
                await self._pin(base)
                for chosen in choice.segments:
                    await self._drop(run, chosen, actor, folder)
                await self._after(choice.last)
            run.step = Step.Done
        except asyncio.CancelledError:
            run.step, run.reason = Step.Failed, "the node was closed"
            raise
        except Exception as error:  # noqa: BLE001 - whoever asks for the run is told
            self._failed(run, error)

    async def _finish(self, run: Letting) -> None:
        try:
            for segment in list(self._journal.state.retention.removing.values()):
                await self._delete(run, segment)
                run.segments.append(segment.name)
            await asyncio.to_thread(self._gone)
            run.step = Step.Done
        except Exception as error:  # noqa: BLE001 - the next start tries again
            self._failed(run, error)

    @staticmethod
    def _failed(run: Letting, error: Exception) -> None:
        run.step = Step.Failed
        run.reason = error.message if isinstance(error, RouterError) else type(error).__name__
        notices().error("retention_run_failed", reason=run.reason)

    async def _choose(self, run: Letting) -> Choice | None:
        if run.cut is None:
            run.reason = "no retention is set: everything is kept"
            return None
        state = self._journal.state
        log = self._journal.log
        chooser = chooser_for(log, state, run.cut, self._most_events)
        choice = await asyncio.to_thread(choose, log, chooser, most_segments=MOST_SEGMENTS, pause=_take_turns)
        run.kept = choice.kept
        if not choice.segments:
            run.reason = "nothing is old enough"
        return choice

    async def _rehearse(self, choice: Choice) -> Frozen | None:
        """See that money and quotas come out the same; return the last whole state before the base."""
        kept: list[Frozen] = []
        leaving, snapshots, log = choice.positions(), self._snapshots, self._journal.log
        retention = self._journal.state.retention

        now_us = self._clock.now_us()

        def work() -> str | None:
            whole = None if snapshots is None else snapshots.nearest(choice.last)
            since = 0 if whole is None else whole[0]
            is_exact = retention.is_whole(since, choice.last)
            rehearsed = rehearse(
                log,
                leaving,
                whole,
                now_us=now_us,
                at_base=lambda state: (
                    kept.append(snapshots.freeze(state)) if snapshots is not None and is_exact else None
                ),
                pause=_take_turns,
            )
            return rehearsed.difference

        difference = await asyncio.to_thread(work)
        if difference is not None:
            raise ConflictError(
                f"{difference} still counts requests that would leave: nothing was dropped; try again later,"
                " or with an earlier --until"
            )
        return kept[0] if kept else None

    async def _pin(self, base: Frozen | None) -> None:
        if base is not None and self._snapshots is not None:
            await asyncio.to_thread(self._snapshots.write, base, pinned=True)

    async def _drop(self, run: Letting, chosen: Chosen, actor: str, folder: Path | None) -> None:
        shelf, positions = self.shelf(), chosen.positions()
        held, keep_us = set(self._journal.state.holds.by_id), self._journal.state.retention.keep_us
        run.step = Step.Archiving
        laid = await asyncio.to_thread(shelf.lay, positions, folder)
        try:
            told = await asyncio.to_thread(self._told, chosen, laid, actor)
            self._refuse_if_changed(held, keep_us)
            durable = self._journal.record_next(RETENTION_STREAM, told)
        except BaseException:
            await asyncio.to_thread(shelf.take_back, laid.name, folder)
            raise
        await self._journal.settled(durable)
        await self._delete(run, self._journal.state.retention.removing[laid.name])
        run.segments.append(laid.name)
        run.events += chosen.events
        run.requests += chosen.requests

    def _refuse_if_changed(self, held: set[str], keep_us: int | None) -> None:
        state = self._journal.state
        if set(state.holds.by_id) - held or state.retention.keep_us != keep_us:
            raise ConflictError("a hold was placed, or the retention changed, meanwhile: apply again")

    def _told(self, chosen: Chosen, laid: Laid, actor: str) -> SegmentDropped:
        last = chosen.first + sum(chosen.runs) - 1
        told = SegmentDropped(
            at_us=self._clock.now_us(),
            actor=actor,
            segment=laid.name,
            sha256=laid.sha256,
            first=chosen.first,
            last=last,
            events=chosen.events,
            requests=chosen.requests,
            runs=chosen.runs,
            size=laid.size,
            root=laid.root,
            from_us=chosen.from_us,
            to_us=chosen.to_us,
            clients=chosen.clients,
            keep_us=self._journal.state.retention.keep_us,
        )
        return self.shelf().signed(told)

    async def _delete(self, run: Letting, segment: Segment) -> None:
        deletion = Deletion(self._journal, self._clock, self.shelf())
        run.step = Step.Sealing
        await deletion.until_sealed(segment)
        run.step = Step.Deleting
        await deletion.delete(segment)

    async def _after(self, base: int) -> None:
        """Forget what tells of dropped requests beside the log."""
        if self._snapshots is not None:
            await asyncio.to_thread(self._snapshots.forget, before=base)
        await asyncio.to_thread(self._gone)


def _take_turns() -> None:
    time.sleep(PAUSE_S)

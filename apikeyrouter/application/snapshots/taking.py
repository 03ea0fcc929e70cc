"""When snapshots are taken: after a long fold, every so many events or minutes, and at a stop in good order.

The state in memory runs ahead of the disk, so what was frozen waits until the log is durable up to its
position. Should an append fail meanwhile, the journal folds another state, and what was frozen is dropped.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from apikeyrouter.application.journal import Journal
from apikeyrouter.application.notices import notices
from apikeyrouter.application.snapshots.ports import Frozen, Snapshots
from apikeyrouter.domain.events import Recorded
from apikeyrouter.domain.state import RouterState
from apikeyrouter.domain.windows import MINUTE_US

EVERY_EVENTS: Final = 25_000
"""Folding as many in a row takes about a second."""
EVERY_US: Final = 10 * MINUTE_US
"""Sparse events are dearer to fold, since forecasts are made several times a second of the log's time."""
LEAST_EVENTS: Final = 1_000
"""With fewer behind the latest there is nothing to be saved."""


class SnapshotTaker:
    """Follows the log of one open journal; `start` comes before anything is recorded."""

    def __init__(self, journal: Journal, snapshots: Snapshots) -> None:
        self._journal = journal
        self._snapshots = snapshots
        self._taken = journal.base
        self._taken_us = journal.state.latest_us
        self._due = journal.base + LEAST_EVENTS
        self._frozen: tuple[Frozen, RouterState] | None = None
        self._writing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Take one at once if the fold was long, then follow the log."""
        state = self._journal.state
        if state.position - self._taken >= LEAST_EVENTS:
            frozen = self._copied(state)
            if frozen is not None:
                self._write(frozen)
        self._journal.log.follow(self.follow)

    def follow(self, batch: Sequence[Recorded]) -> None:
        """Hear that events are durable; called in the loop's thread."""
        if batch[-1].position >= self._due:
            self._go_on(batch[-1].position)

    async def close(self) -> None:
        """Take the last one; call it once the log is closed."""
        if self._writing is not None:
            await self._writing
        state = self._journal.state
        if self._journal.exact and state.position - self._taken >= LEAST_EVENTS:
            frozen = self._copied(state)
            if frozen is not None:
                await asyncio.to_thread(self._snapshots.write, frozen)

    def _go_on(self, durable: int) -> None:
        if self._frozen is None:
            self._freeze(durable)
        if self._frozen is None or self._frozen[0].position > durable:
            return
        frozen, state = self._frozen
        self._frozen = None
        self._due = durable + LEAST_EVENTS
        if state is self._journal.state:
            self._write(frozen)

    def _freeze(self, durable: int) -> None:
        """Freeze if it is time; while that cannot be, for the state or the writer, each batch asks again."""
        state = self._journal.state
        if state.position - self._taken < EVERY_EVENTS and state.latest_us - self._taken_us < EVERY_US:
            self._due = durable + LEAST_EVENTS
            return
        is_writing = self._writing is not None and not self._writing.done()
        if self._journal.exact and not is_writing:
            frozen = self._copied(state)
            self._frozen = None if frozen is None else (frozen, state)
            self._due = durable + LEAST_EVENTS if frozen is None else frozen.position

    def _copied(self, state: RouterState) -> Frozen | None:
        try:
            return self._snapshots.freeze(state)
        except Exception as error:  # noqa: BLE001 - whatever it is, requests go on, and starts and stops too
            notices().error("snapshot_failed", reason=str(error), error=type(error).__name__)
            return None

    def _write(self, frozen: Frozen) -> None:
        self._taken, self._taken_us = frozen.position, frozen.latest_us
        self._due = frozen.position + LEAST_EVENTS
        self._writing = asyncio.get_running_loop().create_task(
            asyncio.to_thread(self._snapshots.write, frozen)
        )

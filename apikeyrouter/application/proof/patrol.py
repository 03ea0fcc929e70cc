"""The patrol: after a start, compare every stored row with its seal, slowly, beside the requests."""

import threading
from collections.abc import Callable

from apikeyrouter.application.notices import notices
from apikeyrouter.application.proof.differences import Differences, Unaccounted
from apikeyrouter.application.proof.findings import in_order
from apikeyrouter.application.proof.ports import Rows, Seals
from apikeyrouter.application.proof.standing import PatrolState
from apikeyrouter.domain.models.system_error import SystemError as RouterError

PAGE_ROWS = 200
PAUSE_S = 0.008
"""After a page of some 1.5 ms: an eighth of a core, and a million rows in a minute."""


class Patrol:
    """Walks once over what was sealed before the start, and condemns the log if a row is another."""

    def __init__(
        self,
        rows: Rows,
        seals: Seals,
        until: int,
        condemn: Callable[[str], None],
        *,
        unaccounted: Unaccounted,
    ) -> None:
        self._rows = rows
        self._seals = seals
        self._until = until
        self._condemn = condemn
        self._unaccounted = unaccounted
        self.state = PatrolState.Walking
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-patrol", daemon=True)

    def start(self) -> None:
        """Begin to walk."""
        self._thread.start()

    def stop(self) -> None:
        """End the walk where it is."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self.state = self._walk()
        except (RouterError, OSError) as error:
            self.state = PatrolState.Failed
            notices().error("log_patrol_failed", reason=str(error), error=type(error).__name__)

    def _walk(self) -> PatrolState:
        differences = Differences(self._until, self._seals.hashes, unaccounted=self._unaccounted)
        for page in self._rows.pages(until=self._until, most=PAGE_ROWS):
            differences.feed(page)
            if differences.different or differences.misses:
                break
            if self._stop.wait(PAUSE_S):
                return PatrolState.Stopped
        found = in_order(differences.findings())[:1]
        for finding in found:
            notices().error("log_inconsistent", position=finding.position, detail=finding.detail)
            self._condemn(f"it is not what was sealed: {finding.detail}")
        return PatrolState.Found if found else PatrolState.Done

"""Stop a node whose log is not what was sealed: it refuses requests until somebody has looked."""

import asyncio
import contextlib
from collections.abc import Callable

from apikeyrouter.application.journal import Journal
from apikeyrouter.application.proof.ports import CondemnableLog


def condemning(log: CondemnableLog, journal: Journal) -> Callable[[str], None]:
    """Return what condemns the log from any thread; the node says at once that it is not ready."""
    loop = asyncio.get_running_loop()

    def condemn(reason: str) -> None:
        log.condemn(reason)
        with contextlib.suppress(RuntimeError):  # the loop has ended, and everything that would append
            loop.call_soon_threadsafe(journal.fall_behind)

    return condemn

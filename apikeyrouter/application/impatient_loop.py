"""An event loop that never waits: where nothing is ready, it is later at once. For runs of the past alone."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class _Skipping(selectors.DefaultSelector):
    """Skips the time that would be waited."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready now."""
        if timeout is None:
            raise RuntimeError("nothing is under way, and nothing will ever happen")
        self.skipped_s += max(timeout, 0.0)
        return super().select(0)


class ImpatientLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer."""

    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        """Return the loop's clock, what was skipped included."""
        return super().time() + self._skipping.skipped_s


def run_at_once(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end without waiting; not from within a running loop of this thread."""
    with asyncio.Runner(loop_factory=ImpatientLoop) as runner:
        return runner.run(main)

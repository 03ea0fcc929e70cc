"""Nobody works for a client that has left."""

import asyncio
from types import TracebackType
from typing import Any

from apikeyrouter.interfaces.http.asgi import Receive, Scope, Send
from apikeyrouter.interfaces.http.own_protocol import extension

WATCH_AFTER_S = 0.05


class CancelledWhenClientLeaves:
    """Cancel the current task when the client closes its connection, and leave the block quietly then.

    Our own server says so at once. Any other must be asked by a task, which has its price: an answer that
    is there after a moment needs none.
    """

    __slots__ = ("_receive", "_start", "_task", "_waiting", "_watcher")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        offered = extension(scope)
        self._receive = receive
        self._waiting: set[asyncio.Task[Any]] | None = None
        if offered is not None:
            self._waiting = offered["waiting"]
            offered["listen"](send)

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._task = task
        if self._waiting is not None:
            self._waiting.add(task)
            return
        self._watcher: asyncio.Task[None] | None = None
        self._start = task.get_loop().call_later(WATCH_AFTER_S, self._watch)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self._has_left() and kind is asyncio.CancelledError:
            self._task.uncancel()
            return True
        return False

    def _has_left(self) -> bool:
        """Watch no longer; tell whether this is why the task was cancelled."""
        if self._waiting is not None:
            is_here = self._task in self._waiting
            self._waiting.discard(self._task)
            return not is_here
        self._start.cancel()
        if self._watcher is None or self._watcher.done():
            return self._watcher is not None
        self._watcher.cancel()
        return False

    def _watch(self) -> None:
        self._watcher = self._task.get_loop().create_task(_cancel_on_disconnect(self._receive, self._task))


async def _cancel_on_disconnect(receive: Receive, task: "asyncio.Task[Any]") -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    task.cancel()

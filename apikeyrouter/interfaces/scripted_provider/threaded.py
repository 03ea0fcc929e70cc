"""A scripted provider in a thread of its own, for callers without a running loop."""

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from apikeyrouter.interfaces.scripted_provider.behaviour import KeyScript, Script
from apikeyrouter.interfaces.scripted_provider.ledger import LedgerView
from apikeyrouter.interfaces.scripted_provider.serve import ScriptedProvider

T = TypeVar("T")
START_S = 10.0


class ThreadedProvider:
    """The same provider as an ordinary context; its methods may be called from any thread."""

    def __init__(self, script: Script | None = None, *, port: int = 0) -> None:
        self._provider = ScriptedProvider(script, port=port)
        self._thread = threading.Thread(target=self._run, name="scripted-provider", daemon=True)
        self._settled = threading.Event()
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leave = asyncio.Event()

    @property
    def url(self) -> str:
        """The root, where `/_scripted/` is."""
        return self._provider.url

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as its base URL."""
        return self._provider.base_url

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._settled.wait(START_S):
            raise TimeoutError("the scripted provider did not start")
        if self._error is not None:
            raise self._error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._leave.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for the start
            self._error = error
        finally:
            self._settled.set()

    async def _serve(self) -> None:
        async with self._provider:
            self._loop = asyncio.get_running_loop()
            self._settled.set()
            await self._leave.wait()

    def _in_loop(self, act: Callable[[], T]) -> T:
        """Run something in the provider's thread and return its result."""
        assert self._loop is not None, "the provider is entered"  # noqa: S101 - a programmer's mistake

        async def run() -> T:
            return act()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def ledger(self, calls: int = 1_000_000) -> LedgerView:
        """Return the ledger as it stands, with the last calls."""
        return self._in_loop(lambda: self._provider.ledger(calls))

    def put_key(self, name: str, script: KeyScript) -> None:
        """Add a key, or give one a whole new script."""
        self._in_loop(lambda: self._provider.put_key(name, script))

    def change_key(self, name: str, **changes: object) -> None:
        """Replace some fields of a key's script, given as in JSON."""
        self._in_loop(lambda: self._provider.change_key(name, **changes))

    def reset(self) -> None:
        """Begin anew with the first script and an empty ledger."""
        self._in_loop(self._provider.reset)

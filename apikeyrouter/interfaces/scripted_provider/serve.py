"""A scripted provider inside this process: served by uvicorn on a free loopback port of the running loop."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import msgspec
import uvicorn

from apikeyrouter.interfaces.scripted_provider.app import ScriptedApp, wall_clock_us
from apikeyrouter.interfaces.scripted_provider.behaviour import KeyScript, Script
from apikeyrouter.interfaces.scripted_provider.connections import Connections, protocol_of
from apikeyrouter.interfaces.scripted_provider.ledger import LedgerView

LOOPBACK = "127.0.0.1"
BACKLOG = 2048
KEEP_ALIVE_S = 75
FAREWELL_S = 1.0
POLL_S = 0.002


class ProviderServer(uvicorn.Server):
    """uvicorn without signals and ticks: it starts and stops when told, and at once."""

    def __init__(self, config: uvicorn.Config, connections: Connections) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self.leave = asyncio.Event()
        self._connections = connections

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the process that this server lives in."""
        yield

    async def main_loop(self) -> None:
        """Serve until told to leave."""
        self.ready.set()
        await self.leave.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the door and every connection; what still runs then has a moment to notice."""
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        self._connections.abort()
        if tasks := set(self.server_state.tasks):
            _, late = await asyncio.wait(tasks, timeout=FAREWELL_S)
            for task in late:
                task.cancel()


class ScriptedProvider:
    """A provider that behaves as its script says; enter it as an async context."""

    def __init__(
        self, script: Script | None = None, *, port: int = 0, clock: Callable[[], int] = wall_clock_us
    ) -> None:
        self.port = port
        self._connections = Connections()
        self._app = ScriptedApp(script or ANYBODY, connections=self._connections, clock=clock)
        self._server: ProviderServer | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The root, where `/_scripted/` is."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as its base URL."""
        return self.url + "/v1"

    async def __aenter__(self) -> Self:
        listener = socket.create_server((LOOPBACK, self.port), backlog=BACKLOG)
        self.port = listener.getsockname()[1]
        self._server = ProviderServer(config_of(self._app, self._connections), self._connections)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        ready = asyncio.create_task(self._server.ready.wait())
        await asyncio.wait((ready, self._serving), return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._serving.done():
            listener.close()
            self._serving.result()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None and self._serving is not None:
            self._server.leave.set()
            await self._serving

    def ledger(self, calls: int = 1_000_000) -> LedgerView:
        """Return the ledger as it stands, with the last calls."""
        return self._app.view(calls)

    def put_key(self, name: str, script: KeyScript) -> None:
        """Add a key, or give one a whole new script."""
        self._app.put_key(name, script)

    def change_key(self, name: str, **changes: object) -> None:
        """Replace some fields of a key's script, given as in JSON."""
        self._app.change_key(name, msgspec.to_builtins(changes))

    def reset(self) -> None:
        """Begin anew with the first script and an empty ledger."""
        self._app.reset()

    async def until(self, condition: Callable[[LedgerView], bool], within_s: float = 5.0) -> LedgerView:
        """Wait until the ledger fulfils a condition; raise TimeoutError otherwise."""
        async with asyncio.timeout(within_s):
            while not condition(view := self.ledger()):  # noqa: ASYNC110 - conditions are the caller's
                await asyncio.sleep(POLL_S)
        return view


ANYBODY = Script(accept_any_key=True)


def config_of(app: ScriptedApp, connections: Connections) -> uvicorn.Config:
    """Configure uvicorn to add nothing: no log, no lifespan, no headers of its own."""
    return uvicorn.Config(
        app,
        http=protocol_of(connections),
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
    )

"""An application that is made when it is first asked for."""

import asyncio
from collections.abc import Awaitable, Callable

from apikeyrouter.interfaces.http.asgi import Receive, Scope, Send

App = Callable[[Scope, Receive, Send], Awaitable[None]]


class LateApp:
    """Stands for an application that costs memory and time, and that many processes never need.

    It is made in a thread, so that requests go on meanwhile.
    """

    def __init__(self, make: Callable[[], App]) -> None:
        self._make = make
        self._app: App | None = None
        self._making = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event of ASGI."""
        app = self._app or await self._made()
        await app(scope, receive, send)

    async def _made(self) -> App:
        async with self._making:
            if self._app is None:
                self._app = await asyncio.to_thread(self._make)
            return self._app

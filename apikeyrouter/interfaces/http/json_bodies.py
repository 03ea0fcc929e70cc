"""Read every body as JSON, whatever its content type says."""

from apikeyrouter.interfaces.http.asgi import Receive, Scope, Send
from apikeyrouter.interfaces.http.headers import JSON
from apikeyrouter.interfaces.http.late_app import App


class EveryBodyIsJson:
    """Stands before an application that takes nothing but JSON, and declares every body as that.

    So `curl -d`, which calls its body a form, is understood as it was meant.
    """

    # Elsewhere the content type keeps web pages out: a browser lets any page post forms and plain text to
    # loopback unasked. Here the management key does that. It is always needed, and only ever taken from
    # X-API-Key or a bearer token, which no browser sends for a foreign page before the server agreed to it.

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event of ASGI."""
        if scope["type"] == "http":
            others = [(name, value) for name, value in scope["headers"] if name != JSON[0]]
            scope = {**scope, "headers": [*others, JSON]}
        await self._app(scope, receive, send)

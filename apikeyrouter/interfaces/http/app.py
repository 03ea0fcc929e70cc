"""The proxy as an ASGI application: plain routes in front, everything else through FastAPI behind."""

from apikeyrouter.adapters.telemetry.logging import configure_logging
from apikeyrouter.adapters.telemetry.redaction import Redactor
from apikeyrouter.adapters.vault import Listener
from apikeyrouter.bootstrap import Node, open_node
from apikeyrouter.domain.models.system_error import (
    SystemError,  # noqa: A004 - the published name
)
from apikeyrouter.interfaces.http.asgi import Receive, Scope, Send
from apikeyrouter.interfaces.http.late_app import App, LateApp
from apikeyrouter.interfaces.http.plain_routes import plain_route
from apikeyrouter.settings import RouterSettings


class Proxy:
    """One node behind HTTP. Without settings they are read from the environment at start-up.

    `run_key` is a management key for this run alone, by which the command line reaches its own server.
    `refusal` is why the start was refused, if it was. `heard` is told every key's material, to mask it.
    """

    def __init__(
        self,
        settings: RouterSettings | None = None,
        run_key: str | None = None,
        *,
        heard: Listener | None = None,
    ) -> None:
        self._heard = heard
        self._settings = settings
        self._run_key = run_key
        self._node: Node | None = None
        self.refusal: SystemError | None = None
        self._behind = LateApp(self._management)

    @property
    def node(self) -> Node:
        """The running node."""
        assert self._node is not None  # noqa: S101 - lifespan comes before any request
        return self._node

    @property
    def management_keys(self) -> dict[str, str]:
        """The keys that open the management API, by who holds them; with none, nobody may."""
        configured = self.node.settings.management_api_key
        keys = {"management-api": configured.get_secret_value() if configured else None}
        keys["command-line"] = self._run_key
        return {actor: key for actor, key in keys.items() if key}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event of ASGI."""
        if scope["type"] == "http":
            serve = plain_route(scope["method"], scope["path"])
            if serve is not None:
                await serve(self.node, scope, receive, send)
                return
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        await self._behind(scope, receive, send)

    def _management(self) -> App:
        from apikeyrouter.interfaces.http.management import (  # noqa: PLC0415 - FastAPI, where somebody manages
            management_app,
        )

        return management_app(self)

    def _settings_of_a_bare_server(self) -> RouterSettings:
        """Read the settings where any ASGI server was pointed at `app`, and log as `serve` does."""
        settings, redactor = RouterSettings.for_server(), Redactor()
        configure_logging(settings.log_level, settings.log_format, redactor=redactor)
        self._heard = redactor.remember
        return settings

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            settings = self._settings or self._settings_of_a_bare_server()
            settings.check_exposure()
            self._node = await open_node(settings, heard=self._heard)
        except SystemError as error:
            self.refusal = error
            await send({"type": "lifespan.startup.failed", "message": error.message})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.node.close()
        await send({"type": "lifespan.shutdown.complete"})


app = Proxy()

"""Run the proxy under uvicorn on one socket, and tell when it listens."""

import contextlib
import gc
import logging
import socket
from collections.abc import Callable, Iterator

import uvicorn

from apikeyrouter.domain.models.system_error import ConfigurationError
from apikeyrouter.interfaces.http.app import Proxy
from apikeyrouter.interfaces.http.own_protocol import Protocol

GRACE_S = 10
GC_ALLOCATIONS = 10_000
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - recognised, not bound


class ProxyServer(uvicorn.Server):
    """One proxy under uvicorn; `alone` unless somebody else ends the server and owns the screen."""

    def __init__(self, proxy: Proxy, *, on_listening: Callable[[], None], alone: bool = True) -> None:
        super().__init__(
            uvicorn.Config(
                proxy,
                loop="auto",  # uvloop where there is one
                http=Protocol,
                ws="none",
                lifespan="on",
                log_config=None,
                log_level="critical",  # a refused start is told by the proxy
                access_log=False,
                server_header=False,
                proxy_headers=False,  # nothing here reads a client's address
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        self._proxy = proxy
        self._on_listening = on_listening
        self._alone = alone

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to end; raise what the proxy refused to start for."""
        try:
            await super().serve(sockets)
        except SystemExit:
            if self._proxy.refusal is not None:
                raise self._proxy.refusal from None
            raise

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell once requests are served."""
        await super().startup(sockets)
        if self.started:
            if self._alone:
                _spare_the_collector()
                logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
            self._on_listening()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Listen for signals, where that is this server's task."""
        with super().capture_signals() if self._alone else contextlib.nullcontext():
            yield


def _spare_the_collector() -> None:
    """Leave what start-up made out of every collection; requests free what they use by reference counts."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS, 20, 50)


def bound_socket(host: str, port: int) -> socket.socket:
    """Take the address, or refuse in words that name it; nothing is accepted yet."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        raise ConfigurationError(
            f"port {port} on {host} cannot be used ({error.strerror or error}): stop what listens there, or"
            " choose another with --port or APIKEYROUTER_PORT",
            param="port",
        ) from None
    return bound


def url_of(bound: socket.socket) -> str:
    """Return where this machine reaches a socket."""
    host, port = bound.getsockname()[:2]
    host = ANY_ADDRESS.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

"""The scripted provider as an ASGI app: find the operation and the key, enter the call, let it be served."""

import time
from collections.abc import Callable

import msgspec
from starlette.types import Receive, Scope, Send

from apikeyrouter.errors import ConfigurationError, NotFoundError
from apikeyrouter.interfaces.scripted_provider import control, refusals
from apikeyrouter.interfaces.scripted_provider.behaviour import KeyScript, Script, key_script_from
from apikeyrouter.interfaces.scripted_provider.connections import Connections
from apikeyrouter.interfaces.scripted_provider.conversation import Conversation, House
from apikeyrouter.interfaces.scripted_provider.delivery import refused
from apikeyrouter.interfaces.scripted_provider.exchange import ClientGoneError, Exchange
from apikeyrouter.interfaces.scripted_provider.keyring import Keyring, ScriptedKey
from apikeyrouter.interfaces.scripted_provider.ledger import Ledger, LedgerView
from apikeyrouter.interfaces.scripted_provider.limits import Headers

OPERATIONS: dict[tuple[str, str], str] = {
    ("POST", "/v1/chat/completions"): "chat",
    ("POST", "/v1/completions"): "completion",
    ("POST", "/v1/embeddings"): "embeddings",
    ("POST", "/v1/responses"): "responses",
    ("GET", "/v1/models"): "models",
}
REQUEST_ID_HEADERS = {b"x-request-id", b"x-client-request-id"}


def wall_clock_us() -> int:
    """Return the time, as the ledger writes it."""
    return time.time_ns() // 1000


class Credentials(msgspec.Struct, gc=False):
    """What a client says of itself."""

    key_sent: bytes = b""
    request_id: str | None = None

    def __repr__(self) -> str:
        """Keep the key to itself."""
        return f"Credentials(request_id={self.request_id!r})"


class ScriptedApp:
    """The provider's state and its one ASGI entry."""

    def __init__(
        self,
        script: Script,
        *,
        connections: Connections | None = None,
        clock: Callable[[], int] = wall_clock_us,
    ) -> None:
        self.script = script
        self.connections = connections if connections is not None else Connections()
        self.now_us = clock
        self._offers = {name: model.offer(name) for name, model in script.models.items()}
        self._house = House(self._offers.keys(), script.output_tokens, script.embedding_dimensions, clock)
        self._begin()

    def _begin(self) -> None:
        self.ledger = Ledger(self.script.remembered_calls)
        self.keyring = Keyring(self.script, self.now_us())
        for name in self.keyring.keys:
            self.ledger.tally(name)

    def view(self, calls: int) -> LedgerView:
        """Return the ledger as it stands, with the last calls."""
        made, standing = self.connections.made, len(self.connections)
        return self.ledger.view(self.now_us(), connections_made=made, connections_open=standing, calls=calls)

    def put_key(self, name: str, script: KeyScript) -> None:
        """Add a key or tell one a new script; faults count from now if they are others than before."""
        try:
            self.keyring.put(name, script, self.now_us())
        except ValueError as error:
            raise ConfigurationError(f"the script is wrong: {error}") from None
        self.ledger.tally(name)

    def change_key(self, name: str, changes: dict[str, object]) -> None:
        """Replace some fields of a key's script."""
        key = self.keyring.keys.get(name)
        if key is None:
            raise NotFoundError(f"no key is called {name!r}")
        self.put_key(name, key_script_from(name, msgspec.to_builtins(key.script) | changes))

    def reset(self) -> None:
        """Begin anew with the script that the provider was started with; held calls go on."""
        self.keyring.release()
        self._begin()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, receive, send, self.connections)
        try:
            await self._serve(exchange)
        except ClientGoneError:
            pass  # nobody is there to be told
        finally:
            exchange.close()

    async def _serve(self, exchange: Exchange) -> None:
        if exchange.path.startswith(control.PREFIX):
            await control.serve(self, exchange)
            return
        operation = OPERATIONS.get((exchange.method, exchange.path))
        credentials = credentials_in(exchange.headers)
        key = self.keyring.find(credentials.key_sent)
        if operation is None:
            await exchange.deliver(refused(refusals.unknown_route(exchange.method, exchange.path)))
        elif key is None:
            self.ledger.unknown_key_calls += 1
            await exchange.deliver(refused(refusals.unknown_key()))
        else:
            await self._serve_call(exchange, key, operation, credentials)

    async def _serve_call(
        self, exchange: Exchange, key: ScriptedKey, operation: str, credentials: Credentials
    ) -> None:
        ledger = self.ledger  # a reset must not move a running call into the new one
        call = ledger.open(key.name, operation, self.now_us(), credentials.request_id)
        conversation = Conversation(self._house, exchange, key, call, ledger.tally(key.name))
        try:
            await conversation.serve(credentials.key_sent.decode("latin-1"))
        except ClientGoneError:
            call.outcome = "aborted"
        finally:
            ledger.close(call, self.now_us(), self._offers)


def credentials_in(headers: Headers) -> Credentials:
    """Find the bearer key and the client's request id."""
    found = Credentials()
    for name, value in headers:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            found.key_sent = value[7:].strip()
        elif name in REQUEST_ID_HEADERS:
            found.request_id = value.decode("latin-1")
    return found

"""The control endpoints, for loopback only: read the ledger, change keys while running, begin anew."""

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

import msgspec

from apikeyrouter.errors import ConfigurationError, NotFoundError
from apikeyrouter.interfaces.scripted_provider import refusals
from apikeyrouter.interfaces.scripted_provider.behaviour import key_script_from
from apikeyrouter.interfaces.scripted_provider.delivery import JSON, Delivery, body_of, refused
from apikeyrouter.interfaces.scripted_provider.exchange import Exchange
from apikeyrouter.interfaces.scripted_provider.refusals import Refusal

if TYPE_CHECKING:
    from apikeyrouter.interfaces.scripted_provider.app import ScriptedApp

PREFIX = "/_scripted/"
KEYS = PREFIX + "keys/"


async def serve(app: "ScriptedApp", exchange: Exchange) -> None:
    """Serve one control request."""
    if not is_loopback(exchange.client):
        refusal = Refusal(403, "permission_error", "loopback_only", "Control is for loopback only.")
        await exchange.deliver(refused(refusal))
        return
    body = await exchange.body()
    try:
        delivery = answer(app, exchange, body)
    except ConfigurationError as error:
        delivery = refused(refusals.bad_request(error.message))
    except NotFoundError as error:
        delivery = refused(Refusal(404, "invalid_request_error", "not_found", error.message))
    await exchange.deliver(delivery)


def is_loopback(client: tuple[str, int] | None) -> bool:
    """Tell whether a client is on this machine; one whose address is unknown is not."""
    try:
        return client is not None and ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False


def answer(app: "ScriptedApp", exchange: Exchange, body: bytes) -> Delivery:
    """Do what is asked and answer with what is now so."""
    match exchange.method, exchange.path:
        case "GET", "/_scripted/ledger":
            return json_of(app.view(calls_wanted(exchange.query, app.script.remembered_calls)))
        case "GET", "/_scripted/keys":
            return json_of({name: key.script.shown() for name, key in app.keyring.keys.items()})
        case "POST", "/_scripted/reset":
            app.reset()
            return json_of({"reset": True})
        case ("PUT" | "PATCH") as method, path if path.startswith(KEYS):
            name = unquote(path.removeprefix(KEYS))
            tell_key(app, method, name, fields_in(body))
            return json_of(app.keyring.keys[name].script.shown())
        case method, path:
            return refused(refusals.unknown_route(method, path))


def tell_key(app: "ScriptedApp", method: str, name: str, fields: dict[str, object]) -> None:
    """PUT a whole script, or PATCH some fields of one."""
    if method == "PUT":
        app.put_key(name, key_script_from(name, fields))
    else:
        app.change_key(name, fields)


def fields_in(body: bytes) -> dict[str, object]:
    """Read a JSON object; raise `ConfigurationError`."""
    try:
        return msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ConfigurationError(f"the body is not a JSON object: {error}") from None


def calls_wanted(query: bytes, default: int) -> int:
    """Read `calls=N`: how many of the last calls the ledger shall list."""
    wanted = parse_qs(query.decode("latin-1")).get("calls", [str(default)])[-1]
    if not (wanted.isascii() and wanted.isdigit() and len(wanted) <= 9):
        raise ConfigurationError("calls is a number of calls")
    return int(wanted)


def json_of(value: object) -> Delivery:
    """Deliver a value as JSON."""
    return body_of(200, JSON, msgspec.json.encode(value))

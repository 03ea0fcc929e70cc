"""`apikeyrouter keys`: register, list and change keys. Material is never taken from the command line."""

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apikeyrouter.interfaces.cli.key_material import (
    WITH_STRAY_ARGUMENTS,
    FromEnvironment,
    FromStdin,
    read_material,
)
from apikeyrouter.interfaces.cli.options import AsJson, Database
from apikeyrouter.interfaces.cli.screen import console, print_json, state_text, table

if TYPE_CHECKING:
    from apikeyrouter.interfaces.cli.management import Management

IMPORTED = {"openai": re.compile(r"OPENAI_API_KEY(?:_(\d{1,4}))?")}

LONGEST_STATE = len("recovering,")
LONGEST_LEFT = len("99,999/99,999")

KeyId = Annotated[str, typer.Argument(metavar="KEY_ID", help="The key's id, as `keys list` shows it.")]

app = typer.Typer(help="Register, list and change keys.", no_args_is_help=True)


Limits = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME=AMOUNT",
        help="rpm, tpm, rpd, … as in rpm=500, for some models alone as in tpm:gpt-4o=40000; NAME= lifts one.",
    ),
]


@app.command("list", epilog="Example: apikeyrouter keys list --provider openai")
def list_keys(
    provider: Annotated[str | None, typer.Option(help="Only keys of this provider.")] = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """List the keys: ids, states and what is left of their quotas, never material."""
    listed = [key for key in _read_keys(database) if provider in {None, key["provider_id"]}]
    if as_json:
        print_json(listed)
    elif listed:
        _show_keys(listed)
    else:
        console().print("No keys yet. Register one with: apikeyrouter keys add PROVIDER")


@app.command(epilog="Example: apikeyrouter keys show 019ab3c4d5e67f8090a1b2c3d4e5f607")
def show(key_id: KeyId, database: Database = None, as_json: AsJson = False) -> None:
    """Show one key, what is left of its quotas, and the events of its life."""
    from apikeyrouter.application.audit import event_as_data
    from apikeyrouter.domain.events import key_stream
    from apikeyrouter.domain.models.system_error import NotFoundError
    from apikeyrouter.interfaces.cli.events import show_events
    from apikeyrouter.interfaces.cli.log_access import open_reader
    from apikeyrouter.interfaces.cli.quota_tables import show_accounts

    found = [key for key in _read_keys(database) if key["id"] == key_id]
    if not found:
        raise NotFoundError(f"no key has the id {key_id[:64]!r}", param="key_id")
    life = [event_as_data(recorded) for recorded in open_reader(database).stream(key_stream(key_id))]
    if as_json:
        print_json({**found[0], "events": life})
        return
    _show_keys(found)
    console().print()
    show_accounts(found[0]["quota"]["accounts"])
    show_events(life)


@app.command(
    context_settings=WITH_STRAY_ARGUMENTS,
    epilog="Example: apikeyrouter keys add openai --env OPENAI_API_KEY --label production --rpm 500",
)
def add(
    context: typer.Context,
    provider: Annotated[str, typer.Argument(metavar="PROVIDER", help="The id of a registered provider.")],
    stdin: FromStdin = False,
    env: FromEnvironment = None,
    label: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    rpm: Annotated[int | None, typer.Option(help="Requests per minute that the provider allows.")] = None,
    tpm: Annotated[int | None, typer.Option(help="Tokens per minute that the provider allows.")] = None,
    weight: Annotated[
        float | None, typer.Option(help="Share of the load; default: rpm / 100, else 1.")
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="Serve only this model; repeat for more.")] = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Seal a key and make it a candidate; asks for it unless --stdin or --env is given."""
    from apikeyrouter.interfaces.cli.management import manage

    material = read_material(context, stdin=stdin, variable=env)
    new = _new_key(provider, material, label=label, rpm=rpm, tpm=tpm, weight=weight, models=model)
    registered = manage(database, lambda api: api.ask("POST", "/keys", new))
    _tell(registered, "registered", as_json=as_json)


@app.command(
    context_settings=WITH_STRAY_ARGUMENTS,
    epilog="Example: apikeyrouter keys rotate KEY_ID --stdin < new-key.txt",
)
def rotate(
    context: typer.Context,
    key_id: KeyId,
    stdin: FromStdin = False,
    env: FromEnvironment = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Replace a key's material; id, history and limits stay, and a rejected key is healed."""
    material = read_material(context, stdin=stdin, variable=env)
    _tell(_change(database, key_id, "rotate", {"key_material": material}), "rotated", as_json=as_json)


@app.command(epilog="Example: apikeyrouter keys disable KEY_ID")
def disable(key_id: KeyId, database: Database = None, as_json: AsJson = False) -> None:
    """Take a key out of service at once; requests under way finish."""
    _tell(_change(database, key_id, "disable"), "disabled", as_json=as_json)


@app.command(epilog="Example: apikeyrouter keys drain KEY_ID")
def drain(key_id: KeyId, database: Database = None, as_json: AsJson = False) -> None:
    """Give a key no new requests, and disable it when those under way have ended."""
    _tell(_change(database, key_id, "drain"), "drained", as_json=as_json)


@app.command(epilog="Example: apikeyrouter keys pin KEY_ID")
def pin(key_id: KeyId, database: Database = None, as_json: AsJson = False) -> None:
    """Prefer a key to all that are not pinned, as long as it may be chosen."""
    _tell(_change(database, key_id, "pin"), "pinned", as_json=as_json)


@app.command(epilog="Example: apikeyrouter keys unpin KEY_ID")
def unpin(key_id: KeyId, database: Database = None, as_json: AsJson = False) -> None:
    """Prefer a key no longer."""
    _tell(_change(database, key_id, "unpin"), "unpinned", as_json=as_json)


@app.command(epilog="Example: apikeyrouter keys limit KEY_ID rpm=500 tpm=40000 rpd:gpt-4o=10000")
def limit(key_id: KeyId, limits: Limits, database: Database = None, as_json: AsJson = False) -> None:
    """Declare limits of a key anew; those that are not named stay as they are."""
    from apikeyrouter.interfaces.cli.declared_limits import parse_limits

    metadata = {"metadata": parse_limits(limits)}
    _tell(_change(database, key_id, "", metadata, method="PATCH"), "limited", as_json=as_json)


@app.command(epilog="Example: apikeyrouter keys enable KEY_ID")
def enable(key_id: KeyId, database: Database = None, as_json: AsJson = False) -> None:
    """Bring a disabled or draining key back to what it was."""
    _tell(_change(database, key_id, "enable"), "enabled", as_json=as_json)


@app.command(epilog="Example: apikeyrouter keys revoke KEY_ID --yes")
def revoke(
    key_id: KeyId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """End a key for ever and destroy its material."""
    if not yes:
        typer.confirm(f"Revoke key {key_id} for ever and destroy its material?", abort=True, err=True)
    _tell(_change(database, key_id, "revoke"), "revoked", as_json=as_json)


@app.command(
    "import-env", epilog="Example: OPENAI_API_KEY_1=… OPENAI_API_KEY_2=… apikeyrouter keys import-env"
)
def import_env(
    provider: Annotated[
        str, typer.Argument(help="The provider that the variables are named after.")
    ] = "openai",
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Register OPENAI_API_KEY and OPENAI_API_KEY_1, _2, … from the environment."""
    from apikeyrouter.domain.models.system_error import NotFoundError
    from apikeyrouter.interfaces.cli.management import manage

    if provider not in IMPORTED:
        raise typer.BadParameter(f"variables are known for: {', '.join(IMPORTED)}; use `keys add --env NAME`")
    variables = _variables(provider, os.environ)
    if not variables:
        raise NotFoundError("neither OPENAI_API_KEY nor OPENAI_API_KEY_1, _2, … is set")
    imported = manage(database, lambda api: _import_all(api, provider, variables))
    if as_json:
        print_json(imported)
        return
    for told in imported:
        console().print(f"{told['variable']}: {told['outcome']}")


def _variables(provider: str, environment: Mapping[str, str]) -> list[str]:
    pattern = IMPORTED[provider]
    matches = [
        match for name in environment if environment[name].strip() and (match := pattern.fullmatch(name))
    ]
    return [match[0] for match in sorted(matches, key=lambda match: int(match[1] or 0))]


async def _import_all(api: "Management", provider: str, variables: list[str]) -> list[dict[str, Any]]:
    return [await _import(api, provider, variable) for variable in variables]


async def _import(api: "Management", provider: str, variable: str) -> dict[str, Any]:
    from apikeyrouter.domain.models.system_error import SystemError as RouterError

    try:
        key = await api.ask("POST", "/keys", _new_key(provider, os.environ[variable].strip(), label=variable))
    except RouterError as error:
        if error.code != "conflict":
            raise
        return {"variable": variable, "key_id": None, "outcome": error.message}
    return {"variable": variable, "key_id": key["id"], "outcome": f"registered as key {key['id']}"}


def _new_key(provider: str, material: str, **declared: Any) -> dict[str, Any]:
    metadata = {name: value for name, value in declared.items() if value is not None}
    return {"key_material": material, "provider_id": provider, "metadata": metadata}


def _change(
    database: str | None, key_id: str, act: str, body: dict[str, Any] | None = None, *, method: str = "POST"
) -> dict[str, Any]:
    from urllib.parse import quote

    from apikeyrouter.interfaces.cli.management import manage

    path = f"/keys/{quote(key_id, safe='')}/{act}".rstrip("/")
    changed: dict[str, Any] = manage(database, lambda api: api.ask(method, path, body))
    return changed


def _read_keys(database: str | None) -> list[dict[str, Any]]:
    from apikeyrouter.interfaces.cli.log_access import folded, open_reader
    from apikeyrouter.interfaces.cli.quota_tables import outlook_now
    from apikeyrouter.interfaces.views import api_key

    state = folded(open_reader(database))
    outlook = outlook_now(state)
    return [
        {
            **api_key(state, key).model_dump(mode="json"),
            "quota": outlook.quota_state(key).model_dump(mode="json"),
        }
        for key in state.keys.values()
    ]


def _tell(key: dict[str, Any], done: str, *, as_json: bool) -> None:
    if as_json:
        print_json(key)
    else:
        console().print(f"Key {key['id']} of {key['provider_id']} {done}: {state_text(key['state'])}.")


def _show_keys(keys: list[dict[str, Any]]) -> None:
    from apikeyrouter.interfaces.cli.quota_tables import capacity_text, left_text, tightest

    shown = table("key", "label", "provider", "state", ">left", "capacity", "declared")
    for column in (*shown.columns[:3], shown.columns[5]):
        column.no_wrap = True
    shown.columns[3].min_width, shown.columns[4].min_width = LONGEST_STATE, LONGEST_LEFT
    for key in keys:
        label = str(key["metadata"].get("label", ""))
        left = left_text(tightest(key["quota"]))
        capacity = capacity_text(key["quota"]["capacity_state"])
        declared = _declared(key["metadata"])
        shown.add_row(key["id"], label, key["provider_id"], _state(key), left, capacity, declared)
    console().print(shown)


def _state(key: dict[str, Any]) -> str:
    until = f" until {key['state_until'][11:19]}" if key["state_until"] else ""
    return state_text(key["state"]) + until + (", pinned" if key["pinned"] else "")


def _declared(metadata: dict[str, Any]) -> str:
    """Write what is declared beside the label and the limits, which stand in columns of their own."""
    from apikeyrouter.domain.quota_limits import LIMIT_NAMES

    told = (name for name in metadata if name != "label" and name.partition(":")[0] not in LIMIT_NAMES)
    return ", ".join(f"{name} {metadata[name]}" for name in told)

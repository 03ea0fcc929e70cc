"""`apikeyrouter serve`: the proxy, and the management API behind it."""

import json
import os
import secrets
import signal
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apikeyrouter.interfaces.cli.options import AsJson, Database, settings_from
from apikeyrouter.interfaces.cli.screen import console

if TYPE_CHECKING:
    from apikeyrouter.interfaces.http.app import Proxy
    from apikeyrouter.settings import RouterSettings


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: apikeyrouter serve --port 8080 --database ./apikeyrouter.db")(serve)


def serve(
    host: Annotated[
        str | None, typer.Option(help="Where to listen. Default: 127.0.0.1.", show_default=False)
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Default: 8000; 0 takes a free one.", show_default=False),
    ] = None,
    database: Database = None,
    objective: Annotated[
        str | None, typer.Option(help="For requests that name none.", show_default=False)
    ] = None,
    durability: Annotated[
        str | None,
        typer.Option(help="strict, before_dispatch, before_response or async.", show_default=False),
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning …", show_default=False)] = None,
    log_format: Annotated[str | None, typer.Option(help="json or console.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Serve OpenAI clients and the management API until Ctrl-C; options have variables APIKEYROUTER_…."""
    _end_in_good_order_on_signals()
    settings = settings_from(
        host=host,
        port=port,
        database_url=database,
        objective=objective,
        durability=durability,
        log_level=log_level,
        log_format=log_format or ("console" if sys.stderr.isatty() else None),
    )
    settings.check_exposure()
    _run(settings, as_json=as_json)


def _run(settings: "RouterSettings", *, as_json: bool) -> None:
    from apikeyrouter.adapters.telemetry.logging import configure_logging
    from apikeyrouter.adapters.telemetry.redaction import Redactor
    from apikeyrouter.interfaces.cli.run_file import withdraw
    from apikeyrouter.interfaces.http.app import Proxy
    from apikeyrouter.interfaces.serving import ProxyServer, bound_socket, url_of

    redactor = Redactor()
    configure_logging(settings.log_level, settings.log_format, redactor=redactor)
    run_key = secrets.token_urlsafe(32)
    redactor.remember(run_key)
    proxy = Proxy(settings, run_key, heard=redactor.remember)
    with bound_socket(settings.host, settings.port) as bound:
        url = url_of(bound)

        def announce() -> None:
            _publish(settings, url, run_key)
            _greet(proxy, url, as_json=as_json)

        server = ProxyServer(proxy, on_listening=announce)
        try:
            server.run(sockets=[bound])
        finally:
            if server.started and settings.database_path is not None:
                withdraw(settings.database_path)


def _end_in_good_order_on_signals() -> None:
    """Leave with code 0: uvicorn raises a signal again once it has shut down in good order."""

    def leave(*_: Any) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)


def _publish(settings: "RouterSettings", url: str, run_key: str) -> None:
    from apikeyrouter.interfaces.cli.run_file import Run, publish

    if settings.database_path is not None:
        publish(settings.database_path, Run(os.getpid(), url, run_key))


def _greet(proxy: "Proxy", url: str, *, as_json: bool) -> None:
    summary = proxy.node.summary()
    place = proxy.node.settings.database_path
    log = "memory: it ends with this process" if place is None else str(place)
    if as_json:
        sys.stdout.write(json.dumps({"url": url, "pid": os.getpid(), "log": log, **summary}) + "\n")
        sys.stdout.flush()
        return
    page = console()
    page.print(
        f"[bold green]ApiKeyRouter {summary['version']}[/] listens on [bold]{url}[/]  (Ctrl-C ends it)"
    )
    keys = sum(summary["keys"].values())
    page.print(f"[dim]log[/] {log} [dim]· position {summary['position']} · {keys} keys ·", end=" ")
    page.print(f"[dim]providers: {', '.join(summary['providers']) or 'none'}[/]")
    for line in _next_steps(url, keys=keys, providers=summary["providers"]):
        page.print(line, soft_wrap=True, markup=False)


def _next_steps(url: str, *, keys: int, providers: list[str]) -> list[str]:
    if not providers:
        return [
            "Next, in another terminal of this machine:",
            "  apikeyrouter providers add openai --model gpt-4o-mini,0.15,0.60",
            "  apikeyrouter keys add openai",
        ]
    if not keys:
        return ["Next, in another terminal of this machine:", f"  apikeyrouter keys add {providers[0]}"]
    return [f"Clients: OPENAI_BASE_URL={url}/v1   API: {url}/docs   Metrics: {url}/metrics"]

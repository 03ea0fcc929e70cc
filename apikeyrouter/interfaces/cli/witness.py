"""`apikeyrouter witness`: vouch for other installations' logs, or let a witness vouch for one's own."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apikeyrouter.interfaces.cli.options import AsJson, Database
from apikeyrouter.interfaces.cli.screen import console, print_json

if TYPE_CHECKING:
    from apikeyrouter.adapters.proof.witness_folder import WitnessFolder
    from apikeyrouter.application.proof.witness import Witness

app = typer.Typer(help="Have somebody else vouch that a log only grew.", no_args_is_help=True)


@app.command(
    epilog="Example: apikeyrouter witness serve --log-key KEY --name witness.example.org --port 8100"
)
def serve(
    log_keys: Annotated[
        list[str], typer.Option("--log-key", metavar="KEY", help="A log to vouch for; may be given again.")
    ],
    name: Annotated[str, typer.Option(help="The witness's name, as it stands in its signatures.")],
    folder: Annotated[Path, typer.Option(help="Where its key and the last checkpoints are kept.")] = Path(
        "apikeyrouter.witness"
    ),
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8100,
    as_json: AsJson = False,
) -> None:
    """Cosign the checkpoints of logs, each only if it follows on the last one; until Ctrl-C."""
    import uvicorn

    from apikeyrouter.adapters.proof.witness_folder import WitnessFolder
    from apikeyrouter.interfaces.http.witness_app import witness_app
    from apikeyrouter.interfaces.serving import bound_socket, url_of

    opened = WitnessFolder(folder, _checked(name))
    key = opened.signer.cosigning_key
    config = uvicorn.Config(
        witness_app(_witness(opened, log_keys), key), ws="none", log_config=None, access_log=False
    )
    with bound_socket(host, port) as bound:
        url = url_of(bound)
        if as_json:
            sys.stdout.write(json.dumps({"url": url, "key": key.render()}) + "\n")
            sys.stdout.flush()
        else:
            console().print(f"Witness at {url}\nIts key: {key.render()}", soft_wrap=True)
        uvicorn.Server(config).run(sockets=[bound])


@app.command(
    epilog="Example: apikeyrouter witness ask http://127.0.0.1:8100 --key KEY > ./cosigned.checkpoint"
)
def ask(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where the witness listens.")],
    key: Annotated[str, typer.Option(metavar="KEY", help="The witness's key.")],
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Have the latest checkpoint cosigned, and print it; exit 1 if the witness finds that the log changed."""
    import httpx

    from apikeyrouter.adapters.proof.opening import evidence_of, known_key
    from apikeyrouter.adapters.proof.signing import cosigned_at
    from apikeyrouter.adapters.proof.witness_client import TIMEOUT_S, ask_witness
    from apikeyrouter.interfaces.cli.log_access import log_file, open_reader
    from apikeyrouter.interfaces.cli.options import settings_from

    open_reader(database)
    settings = settings_from(database_url=database)
    evidence = evidence_of(settings, log_file(settings).resolve())
    witness = known_key(key)
    with httpx.Client(timeout=TIMEOUT_S) as client:
        note = ask_witness(evidence.seals, client, url, witness)
    if as_json:
        print_json({"note": note.render(), "witness": witness.name, "time_s": cosigned_at(note, witness)})
    else:
        typer.echo(note.render(), nl=False)


def _witness(opened: "WitnessFolder", log_keys: list[str]) -> "Witness":
    from apikeyrouter.adapters.ambient import SystemClock
    from apikeyrouter.adapters.proof.opening import known_key
    from apikeyrouter.adapters.proof.signing import signed_by
    from apikeyrouter.application.proof.witness import Witness

    keys = [known_key(line) for line in log_keys]
    return Witness(
        logs={key.name: key for key in keys},
        memory=opened,
        cosigner=opened.signer,
        signed_by=signed_by,
        clock=SystemClock(),
    )


def _checked(name: str) -> str:
    if not name or "+" in name or any(char.isspace() for char in name):
        raise typer.BadParameter("a name has neither spaces nor +", param_hint="--name")
    return name

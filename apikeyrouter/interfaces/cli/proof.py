"""`apikeyrouter proof`: checkpoints to keep elsewhere, proofs of single events, bundles of evidence."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from apikeyrouter.interfaces.cli.options import AsJson, Database
from apikeyrouter.interfaces.cli.screen import console, print_json

if TYPE_CHECKING:
    from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
    from apikeyrouter.application.proof.subjects import Subject
    from apikeyrouter.application.proof.verification import Evidence
    from apikeyrouter.settings import RouterSettings

app = typer.Typer(help="Prove what the log holds to somebody who does not trust you.", no_args_is_help=True)

OUT = "evidence.zip"
US_PER_S = 1_000_000


class Opened(NamedTuple):
    """A log at hand: its settings, its file, its events, and what it is verified by."""

    settings: "RouterSettings"
    path: Path
    reader: "SqliteReader"
    evidence: "Evidence"


@app.command(epilog="Example: apikeyrouter proof checkpoint > ./kept-today.checkpoint")
def checkpoint(database: Database = None, as_json: AsJson = False) -> None:
    """Print the latest signed checkpoint, to be kept where nobody who writes the log can change it."""
    from apikeyrouter.application.proof.proving import latest
    from apikeyrouter.interfaces.proof_views import checkpoint_view

    evidence = _opened(database).evidence
    sealed = latest(evidence.seals)
    if as_json:
        print_json(checkpoint_view(sealed, evidence.key))
    else:
        typer.echo(sealed.note.render(), nl=False)


@app.command(epilog="Example: apikeyrouter proof key")
def key(database: Database = None, as_json: AsJson = False) -> None:
    """Print the log's public key, to be given to whoever will verify."""
    line = _opened(database).evidence.key.render()
    if as_json:
        print_json({"key": line})
    else:
        typer.echo(line)


@app.command(epilog="Example: apikeyrouter proof event 4711 --json")
def event(
    position: Annotated[int, typer.Argument(min=1, metavar="POSITION", help="The event's position.")],
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Prove that an event is in the log: its path to the root of the latest checkpoint."""
    import msgspec

    from apikeyrouter.application.proof.proving import prove_event

    evidence = _opened(database).evidence
    proof = prove_event(evidence.rows, evidence.seals, position)
    if as_json:
        print_json(msgspec.to_builtins(proof))
        return
    page = console()
    page.print(f"position {proof.position} of {proof.size}, leaf {proof.leaf_hash}")
    for step in proof.path:
        page.print(f"  {step}")
    typer.echo(proof.checkpoint, nl=False)


@app.command(epilog="Example: apikeyrouter proof growth 20000 --json")
def growth(
    old_size: Annotated[int, typer.Argument(min=0, metavar="SIZE", help="How many events there were.")],
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Prove that the log of an earlier checkpoint is the beginning of the log as it is now."""
    import msgspec

    from apikeyrouter.application.proof.proving import prove_growth

    proof = prove_growth(_opened(database).evidence.seals, old_size)
    if as_json:
        print_json(msgspec.to_builtins(proof))
        return
    page = console()
    page.print(f"from {proof.old_size} (root {proof.old_root}) to {proof.size}")
    for step in proof.path:
        page.print(f"  {step}")
    typer.echo(proof.checkpoint, nl=False)


@app.command(
    epilog="Examples: apikeyrouter proof bundle REQUEST_ID · apikeyrouter proof bundle --first 1 --last 90"
)
def bundle(
    request_id: Annotated[
        str | None,
        typer.Argument(metavar="[REQUEST_ID]", help="Evidence about a request.", show_default=False),
    ] = None,
    first: Annotated[int | None, typer.Option(min=1, help="Every event from this position on.")] = None,
    last: Annotated[int | None, typer.Option(min=1, help="Up to this one; default: the last sealed.")] = None,
    since: Annotated[datetime | None, typer.Option(help="Every event from this time on (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option(help="Before this time (UTC); default: now.")] = None,
    out: Annotated[Path, typer.Option(help="A .zip file, or a folder that does not exist.")] = Path(OUT),
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Make a bundle of evidence that anybody can verify offline with the verifier that is in it."""
    from apikeyrouter.adapters.proof.evidence_bundle import bundle_of, write_bundle
    from apikeyrouter.adapters.proof.opening import signer_of

    if sum(one is not None for one in (request_id, first, since)) != 1:
        raise typer.BadParameter("give a request, or --first, or --since", param_hint="REQUEST_ID")
    opened = _opened(database)
    subject = _subject(opened, request_id, (first, last), (since, until))
    signer = signer_of(opened.settings, opened.path)
    files = bundle_of(opened.evidence.rows, opened.evidence.seals, signer, subject)
    write_bundle(files, out)
    told = {
        "bundle": str(out),
        "kind": subject.kind,
        "subject": subject.name,
        "events": len(subject.positions),
    }
    if as_json:
        print_json({**told, "key": signer.key.render()})
        return
    page = console()
    page.print(
        f"{out}: {len(subject.positions):,} events about {subject.kind} {subject.name}", soft_wrap=True
    )
    page.print(
        f"Verify it with: python -I verify.py {out} --key {signer.key.render()} (verify.py is in the bundle)",
        soft_wrap=True,
    )


def _subject(
    opened: Opened,
    request_id: str | None,
    positions: tuple[int | None, int | None],
    period: tuple[datetime | None, datetime | None],
) -> "Subject":
    from apikeyrouter.application.proof import subjects
    from apikeyrouter.application.proof.proving import latest

    if request_id is not None:
        return subjects.of_request(opened.reader, request_id)
    first, last = positions
    if first is not None:
        return subjects.of_positions(first, last or latest(opened.evidence.seals).checkpoint.size)
    since, until = period
    assert since is not None  # noqa: S101 - one of the three was given
    return subjects.of_period(opened.reader, _us(since), _us(until or datetime.now(UTC)))


def _us(at: datetime) -> int:
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * US_PER_S)


def _opened(database: str | None) -> Opened:
    from apikeyrouter.adapters.proof.opening import evidence_of
    from apikeyrouter.interfaces.cli.log_access import log_file, open_reader
    from apikeyrouter.interfaces.cli.options import settings_from

    reader = open_reader(database)
    settings = settings_from(database_url=database)
    path = log_file(settings).resolve()
    return Opened(settings, path, reader, evidence_of(settings, path))

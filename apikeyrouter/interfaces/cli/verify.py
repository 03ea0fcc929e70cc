"""`apikeyrouter verify`: compare the log with its seals, every event of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apikeyrouter.interfaces.cli.options import AsJson, Database
from apikeyrouter.interfaces.cli.refusing import REFUSED
from apikeyrouter.interfaces.cli.screen import console, print_json, table

if TYPE_CHECKING:
    from apikeyrouter.application.proof.verification import Evidence, Verdict

MOST_SHOWN = 20

Key = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="The log's public key, as you know it; default: the one beside the log.",
        show_default=False,
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: apikeyrouter verify --checkpoint ./kept-in-june.checkpoint")(verify)


def verify(
    checkpoints: Annotated[
        list[Path] | None,
        typer.Option(
            "--checkpoint",
            metavar="FILE",
            help="A checkpoint that was kept elsewhere; may be given several times.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    archive: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Verify the archived segments in this folder as well.",
            exists=True,
            file_okay=False,
            show_default=False,
        ),
    ] = None,
    key: Key = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Find every changed, inserted, deleted, cut or rolled back event, and name the first; exit 1 if any."""
    import msgspec

    from apikeyrouter.application.proof.verification import verify as compare

    evidence = _evidence(database, key, checkpoints or [])
    with _progress(evidence) as seen:
        verdict = compare(evidence, seen)
    if archive is not None:
        verdict = _with_archive(verdict, evidence, archive)
    if as_json:
        told = msgspec.to_builtins(verdict)
        print_json({"intact": verdict.intact, "first_bad_position": verdict.first_bad, **told})
    else:
        show(verdict)
    if not verdict.intact:
        raise typer.Exit(REFUSED)


def show(verdict: "Verdict") -> None:
    """Say what was compared, and where the log is not what was sealed."""
    page = console()
    page.print(outcome(verdict), soft_wrap=True)
    if verdict.unsealed and verdict.intact:
        page.print(f"[dim]{verdict.unsealed:,} events are not sealed yet: nothing vouches for them[/]")
    if verdict.findings:
        shown = table(">position", "what", "found")
        for one in verdict.findings[:MOST_SHOWN]:
            where = "" if one.position is None else str(one.position)
            shown.add_row(where, one.trouble, one.detail)
        page.print(shown)
        if not _only_archive(verdict):
            page.print(f"{verdict.different:,} events are not what was sealed.")


def _with_archive(verdict: "Verdict", evidence: "Evidence", archive: Path) -> "Verdict":
    import msgspec

    from apikeyrouter.adapters.retention.archive_check import check_archive
    from apikeyrouter.application.proof.findings import in_order

    segments, findings = check_archive(evidence, archive)
    together = in_order([*verdict.findings, *findings])
    return msgspec.structs.replace(verdict, findings=together, segments=segments - len(findings))


def outcome(verdict: "Verdict") -> str:
    """Say the verdict in a line."""
    verified = "" if verdict.segments is None else f" ({verdict.segments:,} segments verified)"
    archived = f", {verdict.dropped:,} archived{verified}" if verdict.dropped else ""
    sealed = f"{verdict.sealed:,} sealed by {verdict.checkpoints:,} checkpoints"
    here = " here" if verdict.dropped else ""
    counted = f"{verdict.events:,} events{here}{archived}, {sealed}"
    if verdict.intact:
        return f"[green]✓[/] {counted}: nothing was changed ({verdict.origin})"
    if _only_archive(verdict):
        return f"[bold red]✗ {counted}: the log is what was sealed, its archive is not[/] ({verdict.origin})"
    where = "" if verdict.first_bad is None else f", first at position {verdict.first_bad:,}"
    return f"[bold red]✗ {counted}: the log is not what was sealed{where}[/] ({verdict.origin})"


def _only_archive(verdict: "Verdict") -> bool:
    return all(finding.trouble.startswith("archive_") for finding in verdict.findings)


def _evidence(database: str | None, key: str | None, checkpoints: list[Path]) -> "Evidence":
    import msgspec

    from apikeyrouter.adapters.proof.opening import evidence_of, known_key
    from apikeyrouter.interfaces.cli.log_access import log_file, open_reader
    from apikeyrouter.interfaces.cli.options import settings_from

    open_reader(database)
    settings = settings_from(database_url=database)
    known = None if key is None else known_key(key)
    evidence = evidence_of(settings, log_file(settings).resolve(), key=known)
    return msgspec.structs.replace(evidence, kept=tuple(map(_kept, checkpoints)))


def _kept(file: Path) -> bytes:
    """Read a checkpoint; what is none at all was named by mistake, and tells nothing of the log."""
    from apikeyrouter.domain.proof.checkpoints import parse_checkpoint
    from apikeyrouter.domain.proof.notes import NoteError, parse_note

    content = file.read_bytes()
    try:
        parse_checkpoint(parse_note(content).text)
    except NoteError as error:
        raise typer.BadParameter(f"{file} is no checkpoint: {error}", param_hint="--checkpoint") from None
    return content


@contextmanager
def _progress(evidence: "Evidence") -> Iterator[Callable[[int], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TextColumn("events"))
    with Progress(*columns, console=console(errors=True), transient=True) as progress:
        task = progress.add_task("verifying", total=evidence.rows.extent().last)
        yield lambda position: progress.update(task, completed=position)

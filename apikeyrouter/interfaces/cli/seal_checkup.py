"""What `doctor` finds of the seals: by their files, and by the word of the server, if one runs."""

from collections.abc import Iterator
from pathlib import Path
from time import time
from typing import Any

from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.adapters.proof.opening import known_key, seal_folder_of
from apikeyrouter.adapters.proof.seal_folder import SealFolder
from apikeyrouter.adapters.proof.signing import cosigned_at
from apikeyrouter.adapters.proof.signing_key import read_verifier_key
from apikeyrouter.domain.proof.checkpoints import parse_checkpoint
from apikeyrouter.domain.proof.notes import COSIGNATURE, Note, NoteError, VerifierKey, parse_note
from apikeyrouter.interfaces.cli.findings import Finding
from apikeyrouter.interfaces.cli.run_file import Run, running_server
from apikeyrouter.settings import RouterSettings

LATE_AFTER_S = 60.0
LATE_INTERVALS = 10
LATE_IDLES = 2
TIMEOUT_S = 5.0
DOUBTFUL = {"found": "fail", "failed": "warn", "stopped": "warn"}


def look_at_seals(settings: RouterSettings) -> Iterator[Finding]:
    """Say how many events are sealed, how old the last checkpoint is, and what patrol and witness say."""
    path = settings.database_path
    if path is None or not path.exists():
        return
    path = path.resolve()
    head = SqliteReader(path).head()
    key = read_verifier_key(path)
    if key is None:
        if head:
            yield Finding(
                "warn", "seals", f"none of {head:,} events is sealed: the next start begins with it"
            )
        return
    server = running_server(path)
    seals = SealFolder(seal_folder_of(settings, path))
    try:
        note = seals.latest()
        if note is None:
            where = f"{seals.folder} has no checkpoint, and the log was sealed before"
            yield Finding("fail", "seals", f"{where}: bring them back (docs/proof.md)")
            return
        yield _checkpoint(settings, note, key, head, runs=server is not None)
        yield from _cosigned(settings, seals)
    except NoteError as error:
        yield Finding("fail", "seals", f"a checkpoint in {seals.folder} is forged or damaged: {error}")
        return
    if server is not None:
        yield from _told_by(server)


def _checkpoint(settings: RouterSettings, note: Note, key: VerifierKey, head: int, *, runs: bool) -> Finding:
    size = parse_checkpoint(note.text).size
    signed_s = cosigned_at(note, key._replace(algorithm=COSIGNATURE))
    if signed_s is None:
        return Finding("fail", "seals", f"the last checkpoint is not signed by {key.name}")
    age_s = max(time() - signed_s, 0.0)
    told = f"{min(size, head):,} of {head:,} events, last checkpoint {age_s:,.0f} s ago, key {key.name}"
    if head < size:
        return Finding(
            "fail", "seals", f"{told}: the log ends before its seals; `apikeyrouter verify` tells more"
        )
    if runs and age_s > _longest_s(settings, unsealed=head - size):
        return Finding("warn", "seals", f"{told}: late; the server's log tells why (sealing_failed)")
    if head > size and not runs:
        return Finding("warn", "seals", f"{told}: the rest is sealed by the next start")
    return Finding("ok", "seals", told)


def _longest_s(settings: RouterSettings, *, unsealed: int) -> float:
    """Return how old a checkpoint may be: young while events wait for one, else as idleness makes it."""
    busy_s = max(LATE_AFTER_S, LATE_INTERVALS * settings.seal_interval_s)
    return busy_s if unsealed else max(busy_s, LATE_IDLES * settings.seal_idle_s)


def _cosigned(settings: RouterSettings, seals: SealFolder) -> Iterator[Finding]:
    if settings.witness_key is None:
        return
    witness = known_key(settings.witness_key)
    path: Path = seals.folder / "cosigned"
    if not path.exists():
        yield Finding("warn", "witness", f"{witness.name} has cosigned nothing yet")
        return
    note = parse_note(path.read_bytes())
    at_s = cosigned_at(note, witness._replace(algorithm=COSIGNATURE))
    size = parse_checkpoint(note.text).size
    if at_s is None:
        yield Finding("fail", "witness", f"the cosignature that is kept is not that of {witness.name}")
    else:
        yield Finding("ok", "witness", f"{witness.name} cosigned {size:,} events {time() - at_s:,.0f} s ago")


def _told_by(server: Run) -> Iterator[Finding]:
    told = _health(server)
    seals = None if told is None else told.get("seals")
    if not isinstance(seals, dict):
        yield Finding("warn", "sealing", f"the server at {server.url} does not tell how its seals stand")
        return
    if seals.get("failing"):
        yield Finding("warn", "sealing", "fails at present; the server's log tells why (sealing_failed)")
    patrol = str(seals.get("patrol"))
    yield Finding(DOUBTFUL.get(patrol, "ok"), "patrol", f"over what was sealed before the start: {patrol}")
    witness = seals.get("witness") or {}
    if witness.get("last_visit") in {"refused", "unreachable"}:
        about = f"{witness.get('name')}: the last visit was {witness['last_visit']}"
        yield Finding("warn", "witness visits", f"{about}; the server's log tells why (witness_visit_failed)")


def _health(server: Run) -> dict[str, Any] | None:
    import httpx

    try:
        told = httpx.get(f"{server.url}/health", timeout=TIMEOUT_S, trust_env=False).json()
    except (httpx.HTTPError, ValueError):
        return None
    return told if isinstance(told, dict) else None

"""Bundles of evidence: events, the tree around them, the checkpoint, a report, and the verifier.

What the files mean is told by `offline/verify.py`, which also makes the report: one that it would not make
again from the events is rejected.
"""

import base64
import io
import json
import zipfile
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

from apikeyrouter.adapters.proof.offline import verify as offline
from apikeyrouter.adapters.proof.signing import NoteSigner
from apikeyrouter.application.proof.ports import Rows, Seals
from apikeyrouter.application.proof.proving import Sealed, latest, sealed_row
from apikeyrouter.application.proof.subjects import Subject
from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.domain.proof.leaves import StoredRow
from apikeyrouter.domain.proof.notes import Note
from apikeyrouter.domain.proof.pruned_tree import prune
from apikeyrouter.limits import MOST_BUNDLE_EVENTS

_EARLIEST = (1980, 1, 1, 0, 0, 0)
_READ_ME = """Evidence from the log {origin}: {kind} {subject}, {events} events.

Verify it with Python and the package cryptography, without a network:

    python -I verify.py

Whoever made this bundle also made the verifier in it. To trust neither, take verify.py and the log's public
key from a source of your own, and run: python -I verify.py BUNDLE --key KEY
"""


def bundle_of(rows: Rows, seals: Seals, signer: NoteSigner, subject: Subject) -> dict[str, bytes]:
    """Return the files of a bundle by name."""
    if len(subject.positions) > MOST_BUNDLE_EVENTS:
        raise InvalidRequestError(f"a bundle holds at most {MOST_BUNDLE_EVENTS:,} events", param="positions")
    sealed = latest(seals)
    events = [_as_data(row) for row in _rows_of(rows, subject, sealed.checkpoint.size)]
    size = sealed.checkpoint.size
    branches = prune(seals.subtree, [position - 1 for position in subject.positions], size)
    tree = [[branch.first, branch.after, base64.b64encode(branch.root).decode()] for branch in branches]
    told = {"origin": signer.key.name, "kind": subject.kind, "subject": subject.name, "events": len(events)}
    files = {
        offline.EVENTS: b"".join(_json(event) + b"\n" for event in events),
        offline.TREE: _json({"branches": tree}),
        offline.REPORT: _json(offline.report_of(events, subject.kind, subject.name)),
        offline.CHECKPOINT: sealed.note.render().encode(),
        offline.KEY: signer.key.render().encode() + b"\n",
        "verify.py": verifier_source(),
        "README.txt": _READ_ME.format(**told).encode(),
    }
    return {**files, offline.MANIFEST: _manifest(files, told, sealed, signer)}


def archived(files: Mapping[str, bytes]) -> bytes:
    """Pack files into a zip archive: the same files make the same bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, _EARLIEST), files[name], zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def write_bundle(files: Mapping[str, bytes], out: Path) -> None:
    """Write an archive where the name ends in .zip, else a folder that does not exist yet."""
    if out.exists():
        raise InvalidRequestError(f"{out} exists already: name another place", param="out")
    if out.suffix == ".zip":
        out.write_bytes(archived(files))
        return
    out.mkdir(parents=True)
    for name, content in files.items():
        (out / name).write_bytes(content)


def verifier_source() -> bytes:
    """Return the verifier that runs alone."""
    return resources("apikeyrouter.adapters.proof.offline").joinpath("verify.py").read_bytes()


def _rows_of(rows: Rows, subject: Subject, size: int) -> list[StoredRow]:
    sealed_row(rows, subject.positions[-1], size)
    found = [row for first, last in subject.runs() for page in rows.pages(first, last) for row in page]
    if tuple(row.position for row in found) != subject.positions:
        raise InvalidRequestError(
            "some of the events are gone: they were archived (`apikeyrouter retention status` names the"
            " segments, each of which is such a bundle), or else look closer with `apikeyrouter verify`"
        )
    return found


def _as_data(row: StoredRow) -> dict[str, Any]:
    return {**row._asdict(), "state": row.state.decode()}


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _manifest(
    files: Mapping[str, bytes], told: Mapping[str, object], sealed: Sealed, signer: NoteSigner
) -> bytes:
    said = {**told, "size": sealed.checkpoint.size}
    lines = [offline.FIRST_LINE, *(f"{name} {value}" for name, value in said.items())]
    lines += [f"{sha256(files[name]).hexdigest()}  {name}" for name in sorted(files)]
    text = "\n".join(lines) + "\n"
    return Note(text, (signer.signature(text),)).render().encode()

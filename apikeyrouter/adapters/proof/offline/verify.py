"""Verify a bundle of evidence: `python -I verify.py [BUNDLE] [--key KEY]`, without a network.

BUNDLE is a folder or a .zip file; without it, the folder of this file. Only the standard library and the
package `cryptography` are needed. KEY is the log's public key as one line; without it the one in the bundle
is used, and then you should compare it with a copy that you did not get with the bundle.

What is checked: every file against the signed manifest; the events against the Merkle tree (RFC 9162) whose
root the checkpoint (c2sp.org/tlog-checkpoint) was signed for; that no event of what the bundle is about is
missing between others; and every number of the report against the events.
"""

import argparse
import base64
import hashlib
import json
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MANIFEST, CHECKPOINT, EVENTS, TREE, REPORT, KEY = (
    "manifest",
    "checkpoint",
    "events.jsonl",
    "tree.json",
    "report.json",
    "log.vkey",
)
NEEDED = {CHECKPOINT, EVENTS, TREE, REPORT, KEY, "verify.py"}
FIRST_LINE = "apikeyrouter evidence v1"
HEAD = struct.Struct(">BQQIII")
DASH = "\u2014 "
ENDINGS = ("completed", "failed", "cancelled", "refused", "released")
FIELDS = ("input_tokens", "output_tokens", "cost_nano_usd")
GROUPS = ("key_id", "provider_id", "model")
MOST_BYTES = 4 * 1024**3

PublicKey = tuple[str, bytes, bytes]


class RejectedError(Exception):
    """The bundle is not what it says it is."""


def main() -> int:
    """Verify, say what was found, and exit with 0 only if everything holds."""
    parser = argparse.ArgumentParser(description="Verify a bundle of evidence, offline.")
    parser.add_argument("bundle", nargs="?", default=str(Path(__file__).resolve().parent))
    parser.add_argument("--key", help="the log's public key, as you know it from elsewhere")
    parser.add_argument("--json", action="store_true", help="print JSON")
    asked = parser.parse_args()
    try:
        told = verify(read_bundle(Path(asked.bundle)), asked.key)
    except RejectedError as error:
        told = {"verified": False, "reason": str(error)}
    except (OSError, zipfile.BadZipFile, RecursionError) as error:
        told = {"verified": False, "reason": f"the bundle cannot be read: {error}"}
    sys.stdout.write(json.dumps(told, indent=2) + "\n" if asked.json else in_words(told))
    return 0 if told["verified"] else 1


def in_words(told: dict[str, Any]) -> str:
    """Say the outcome to people."""
    if not told["verified"]:
        return f"REJECTED: {told['reason']}\n"
    trusted = "given by you" if told["key_given"] else "taken from the bundle: compare it with your own copy"
    return (
        f"VERIFIED: {told['events']} events of {told['origin']}, {told['kind']} {told['subject']}\n"
        f"  tree of {told['size']} events, root {told['root']}\n"
        f"  key {told['key']} ({trusted})\n"
        f"  totals {json.dumps(told['totals'])}\n"
    )


def read_bundle(path: Path) -> dict[str, bytes]:
    """Return the files of a bundle by name."""
    if path.is_dir():
        files = [one for one in path.iterdir() if one.name != "__pycache__"]
        if not all(one.is_file() and not one.is_symlink() for one in files):
            raise RejectedError("the bundle holds something that is no plain file")
        return {one.name: one.read_bytes() for one in files}
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if len({one.filename for one in entries}) != len(entries):
            raise RejectedError("the archive holds a name twice")
        if sum(one.file_size for one in entries) > MOST_BYTES:
            raise RejectedError("the archive is too large")
        return {one.filename: archive.read(one) for one in entries}


def verify(files: dict[str, bytes], given_key: str | None = None) -> dict[str, Any]:
    """Return what was verified; raises `RejectedError` at the first thing that does not hold."""
    if missing := (NEEDED | {MANIFEST}) - set(files):
        raise RejectedError(f"{min(missing)} is missing")
    key = parse_key(text_of(files, KEY).strip())
    if given_key is not None and parse_key(given_key.strip()) != key:
        raise RejectedError("the bundle was signed with another key than the one that you know")
    manifest = read_manifest(opened(text_of(files, MANIFEST), key), key[0])
    check_files(files, manifest["files"])
    size, root = read_checkpoint(opened(text_of(files, CHECKPOINT), key), key[0])
    events, kind, subject = read_events(text_of(files, EVENTS)), manifest["kind"], manifest["subject"]
    if (manifest["size"], manifest["events"]) != (size, len(events)):
        raise RejectedError("the manifest counts other events")
    if rebuilt(events, parsed(text_of(files, TREE)), size) != root:
        raise RejectedError("the events are not those that the checkpoint was signed for")
    check_completeness(events, kind, subject)
    report = report_of(events, kind, subject)
    if parsed(text_of(files, REPORT)) != report:
        raise RejectedError("the report is not what the events add up to")
    return {
        "verified": True,
        "origin": key[0],
        "kind": kind,
        "subject": subject,
        "events": len(events),
        "size": size,
        "root": root.hex(),
        "key": text_of(files, KEY).strip(),
        "key_given": given_key is not None,
        "totals": report["totals"],
    }


def read_manifest(text: str, origin: str) -> dict[str, Any]:
    """Read what the bundle says it is."""
    lines = text.split("\n")
    words = [line.split(" ", 1) for line in lines[1:6]]
    names = [pair[0] for pair in words if len(pair) == 2]
    if lines[0] != FIRST_LINE or names != ["origin", "kind", "subject", "events", "size"] or lines[-1]:
        raise RejectedError("the manifest has another form")
    said = dict(words)
    if said["origin"] != origin:
        raise RejectedError("the manifest is of another log")
    listed = [line.split("  ", 1) for line in lines[6:-1]]
    if not all(len(pair) == 2 for pair in listed):
        raise RejectedError("the manifest has another form")
    return {
        **said,
        "events": number(said["events"]),
        "size": number(said["size"]),
        "files": {name: digest for digest, name in listed},
    }


def check_files(files: dict[str, bytes], listed: dict[str, str]) -> None:
    """Compare every file with its hash in the manifest; nothing may be missing, and nothing be added."""
    for name in sorted(set(files) - {MANIFEST} | set(listed)):
        if name not in files:
            raise RejectedError(f"{name} is missing")
        if name not in listed:
            raise RejectedError(f"{name} does not belong here")
        if hashlib.sha256(files[name]).hexdigest() != listed[name]:
            raise RejectedError(f"{name} was changed")


def read_checkpoint(text: str, origin: str) -> tuple[int, bytes]:
    """Return size and root of a checkpoint of this log."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[0] != origin or lines[-1] or not all(lines[:-1]):
        raise RejectedError("the checkpoint is of another log, or none")
    return number(lines[1]), unbase64(lines[2])


def read_events(text: str) -> list[dict[str, Any]]:
    """Return the events, one a line, in the order of their positions."""
    lines = text.split("\n")
    if lines.pop():
        raise RejectedError("the last line of the events is cut off")
    events = [parsed(line) for line in lines]
    shape = {"position": int, "stream": str, "version": int, "name": str, "state": str}
    for event in events:
        kinds = {name: type(value) for name, value in event.items()} if isinstance(event, dict) else None
        if kinds != shape or not 0 < event["position"] < 2**63 or not 0 <= event["version"] < 2**63:
            raise RejectedError("a line of the events is no event")
    positions = [event["position"] for event in events]
    if not positions or positions != sorted(set(positions)):
        raise RejectedError("the events are not in the order of their positions")
    return events


def leaf_of(event: dict[str, Any]) -> bytes:
    """Return the hash of an event's leaf."""
    try:
        parts = [event["stream"].encode(), event["name"].encode(), event["state"].encode()]
    except UnicodeEncodeError:
        raise RejectedError("an event holds what is no text") from None
    head = HEAD.pack(1, event["position"], event["version"], *map(len, parts))
    return hashlib.sha256(b"\x00" + head + b"".join(parts)).digest()


def rebuilt(events: list[dict[str, Any]], tree: Any, size: int) -> bytes:
    """Return the root that events and cut branches make; each has its place, and none is left over."""
    try:
        branches = {(first, after): unbase64(root) for first, after, root in tree["branches"]}
        count = len(tree["branches"])
    except (KeyError, TypeError, ValueError):
        raise RejectedError("the tree has another form") from None
    leaves = {event["position"] - 1: leaf_of(event) for event in events}
    used = []

    def root_over(first: int, after: int) -> bytes:
        if (first, after) in branches:
            used.append((first, after))
            return branches[first, after]
        if after - first == 1:
            if first not in leaves:
                raise RejectedError(f"the event at position {first + 1} is missing")
            return leaves.pop(first)
        middle = first + (1 << (after - first - 1).bit_length() - 1)
        return hashlib.sha256(b"\x01" + root_over(first, middle) + root_over(middle, after)).digest()

    root = root_over(0, size) if size else b""
    if leaves or len(used) != count or any(len(part) != 32 for part in branches.values()):
        raise RejectedError("the tree has events or branches that have no place in it")
    return root


def check_completeness(events: list[dict[str, Any]], kind: str, subject: str) -> None:
    """See that no event is missing between others: by positions, or by the versions of requests' streams."""
    if kind == "positions":
        first, last = (number(word) for word in subject.split("-", 1))
        positions = [event["position"] for event in events]
        if last - first + 1 != len(positions) or positions != list(range(first, last + 1)):
            raise RejectedError("not every position of the range is there")
    elif kind == "request":
        told = [event for event in events if event["stream"] == f"request-{subject}"]
        if not told or [event["version"] for event in told] != list(range(1, len(told) + 1)):
            raise RejectedError("not every event of the request is there")
        if ending_of(told[-1]) is None:
            raise RejectedError("the request has not ended in these events")
    elif kind == "segment":
        check_whole_requests(events, subject)
    else:
        raise RejectedError("it is not known here what the bundle is about")


def check_whole_requests(events: list[dict[str, Any]], subject: str) -> None:
    """See that there are requests only, each from its first event to its end."""
    if subject != f"{events[0]['position']}-{events[-1]['position']}":
        raise RejectedError("the segment begins or ends elsewhere than it says")
    streams: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        streams.setdefault(event["stream"], []).append(event)
    for stream, told in streams.items():
        whole = [event["version"] for event in told] == list(range(1, len(told) + 1))
        if not stream.startswith("request-") or not whole or ending_of(told[-1]) is None:
            raise RejectedError("the segment does not hold whole requests only")


def report_of(events: list[dict[str, Any]], kind: str, subject: str) -> dict[str, Any]:
    """Add up what the events say of requests: of the one that a bundle is about, or of all."""
    stream = f"request-{subject}" if kind == "request" else None
    counted = [event for event in events if stream in {None, event["stream"]}]
    names: dict[str, int] = {}
    totals = new_totals()
    groups: dict[str, dict[str, dict[str, int]]] = {field: {} for field in GROUPS}
    for event in counted:
        names[event["name"]] = names.get(event["name"], 0) + 1
        ending = ending_of(event)
        if ending is None:
            continue
        data = parsed(event["state"])
        add(totals, ending, data)
        for field, totals_by in groups.items():
            if data.get(field):
                add(totals_by.setdefault(data[field], new_totals()), ending, data)
    return {
        "events": len(counted),
        "names": names,
        "totals": totals,
        **{f"by_{field}": totals_by for field, totals_by in groups.items()},
    }


def new_totals() -> dict[str, int]:
    """Return totals of nothing."""
    return {**dict.fromkeys((*ENDINGS, *FIELDS), 0), "cost_unknown": 0}


def add(totals: dict[str, int], ending: str, data: dict[str, Any]) -> None:
    """Add one request's end; a cost that nobody knows is counted, never added as zero."""
    totals[ending] += 1
    for field in FIELDS:
        totals[field] += data.get(field) or 0
    settled = ending in {"completed", "cancelled"}
    totals["cost_unknown"] += settled and data.get("cost_nano_usd") is None


def ending_of(event: dict[str, Any]) -> str | None:
    """Tell how an event ends its request; None if it does not."""
    kind, _, rest = event["name"].partition(".")
    ending = rest.partition(".")[0]
    return ending if kind == "request" and ending in ENDINGS else None


def opened(note: str, key: PublicKey) -> str:
    """Return the text of a signed note (c2sp.org/signed-note) that the key has signed."""
    name, public_key, key_id = key
    text, blank, lines = note.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise RejectedError("a signed text has another form")
    text += "\n"
    signatures = [line.removeprefix(DASH).split(" ") for line in lines[:-1].split("\n")]
    ours = [unbase64(words[1]) for words in signatures if len(words) == 2 and words[0] == name]
    ours = [blob[4:] for blob in ours if blob[:4] == key_id]
    try:
        for signature in ours:
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, text.encode())
    except InvalidSignature:
        ours = []
    if not ours:
        raise RejectedError(f"a text bears no valid signature of {name}")
    return text


def parse_key(line: str) -> PublicKey:
    """Return name, public key and key id of a verifier key."""
    parts = line.split("+", 2)
    material = unbase64(parts[-1])
    key_id = hashlib.sha256(parts[0].encode() + b"\n" + material).digest()[:4]
    if len(parts) != 3 or len(material) != 33 or material[0] != 1 or key_id.hex() != parts[1]:
        raise RejectedError("the key is no Ed25519 verifier key")
    return parts[0], material[1:], key_id


def text_of(files: dict[str, bytes], name: str) -> str:
    """Return a file as text."""
    try:
        return files[name].decode()
    except UnicodeDecodeError:
        raise RejectedError(f"{name} is no text") from None


def parsed(text: str) -> Any:
    """Read JSON; a name that stands twice in an object is refused, as two readers might read it two ways."""
    try:
        return json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError):
        raise RejectedError("something is not JSON") from None


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of pairs."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name stands twice")
    return made


def number(text: str) -> int:
    """Read a decimal number."""
    if (
        len(text) > 19
        or not text.isascii()
        or not text.isdigit()
        or str(int(text)) != text
        or int(text) >= 2**63
    ):
        raise RejectedError("something is no number")
    return int(text)


def unbase64(text: str) -> bytes:
    """Read base64 in its one standard spelling."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except (ValueError, TypeError):
        raise RejectedError("something is not base64") from None
    if base64.b64encode(decoded).decode() != text:
        raise RejectedError("something is not base64")
    return decoded


if __name__ == "__main__":
    sys.exit(main())

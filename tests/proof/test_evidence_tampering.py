"""Evidence that was touched is rejected: by strangers, and by the owner of the key."""

import json
import zipfile
from hashlib import sha256

import pytest
from bundle_givens import bundle, by_itself, completed_request
from sealed_logs import all_rows, settings_of

from apikeyrouter.adapters.proof.evidence_bundle import archived, verifier_source, write_bundle
from apikeyrouter.adapters.proof.offline import verify as offline
from apikeyrouter.adapters.proof.opening import signer_of
from apikeyrouter.adapters.proof.signing import NoteSigner
from apikeyrouter.application.proof.subjects import Subject
from apikeyrouter.domain.proof.notes import Note


def _event(change):
    def edit(files):
        lines = files["events.jsonl"].decode().splitlines()
        event = json.loads(lines[3])
        change(event)
        lines[3] = json.dumps(event, separators=(",", ":"))
        files["events.jsonl"] = ("\n".join(lines) + "\n").encode()

    return edit


def _lines(change):
    def edit(files):
        lines = files["events.jsonl"].decode().splitlines(keepends=True)
        files["events.jsonl"] = "".join(change(lines)).encode()

    return edit


def _json(name, change):
    def edit(files):
        told = json.loads(files[name])
        change(told)
        files[name] = json.dumps(told).encode()

    return edit


def _text(name, old, new):
    def edit(files):
        assert old in files[name].decode()
        files[name] = files[name].decode().replace(old, new, 1).encode()

    return edit


TAMPERINGS = {
    "a state is changed": _event(lambda e: e.update(state=e["state"].replace("1", "2", 1))),
    "a version is changed": _event(lambda e: e.update(version=e["version"] + 1)),
    "a stream is changed": _event(lambda e: e.update(stream=e["stream"] + "x")),
    "a name is changed": _event(lambda e: e.update(name="key.revoked.v1")),
    "a position is changed": _event(lambda e: e.update(position=e["position"] + 1000)),
    "a field is added": _event(lambda e: e.update(more=1)),
    "a name stands twice": _lines(lambda ls: [ls[0].replace("{", '{"version":1,', 1), *ls[1:]]),
    "a line is removed": _lines(lambda ls: ls[:5] + ls[6:]),
    "the last line is removed": _lines(lambda ls: ls[:-1]),
    "a line stands twice": _lines(lambda ls: ls[:5] + ls[4:]),
    "two lines are swapped": _lines(lambda ls: [ls[1], ls[0], *ls[2:]]),
    "the last newline is gone": _lines(lambda ls: [*ls[:-1], ls[-1].rstrip()]),
    "a branch is changed": _json("tree.json", lambda t: t["branches"][0].__setitem__(2, t["branches"][1][2])),
    "a branch is removed": _json("tree.json", lambda t: t["branches"].pop()),
    "a branch is added": _json("tree.json", lambda t: t["branches"].append([0, 1, t["branches"][0][2]])),
    "a branch hides events": _json(
        "tree.json", lambda t: t.update(branches=[[0, 1 << 40, t["branches"][0][2]]])
    ),
    "a total is changed": _json("report.json", lambda r: r["totals"].update(cost_nano_usd=1)),
    "a group of the report is removed": _json("report.json", lambda r: r.update(by_key_id={})),
    "the checkpoint's size is changed": _text("checkpoint", "\n2", "\n1"),
    "the checkpoint's signature is changed": _text("checkpoint", "— apikeyrouter/", "— apikeyrouter/x"),
    "the checkpoint is of nobody": lambda f: f.update(checkpoint=b""),
    "the manifest counts other events": _text("manifest", "events ", "events 1"),
    "the manifest is about something else": _text("manifest", "subject ", "subject x"),
    "a line of the manifest is removed": _text("manifest", "  tree.json\n", "  other.json\n"),
    "the manifest is not signed": lambda f: f.update(manifest=f["manifest"].partition(b"\n\n")[0] + b"\n"),
    "the key is another": lambda f: f.update({"log.vkey": NoteSigner("a", bytes(32)).key.render().encode()}),
    "the verifier is changed": lambda f: f.update({"verify.py": f["verify.py"] + b"\n"}),
    "the words to the reader are changed": lambda f: f.update({"README.txt": b"Trust me."}),
    "a file is added": lambda f: f.update({"extra.txt": b"hello"}),
    "a file is no text": lambda f: f.update({"events.jsonl": b"\xff\xfe"}),
    "a file is no JSON": lambda f: f.update({"tree.json": b"[" * 100_000}),
}


MANIFEST_ALONE_TELLS = {
    "the manifest counts other events",
    "the manifest is about something else",
    "a line of the manifest is removed",
    "the manifest is not signed",
    "the key is another",
    "the verifier is changed",
    "the words to the reader are changed",
    "a file is added",
}


def signed_again(files, signer):
    """Make a manifest that fits the files as they are now."""
    head = files["manifest"].decode().split("\n")[:6]
    head[4] = f"events {files['events.jsonl'].count(b'position')}"
    listed = [f"{sha256(files[name]).hexdigest()}  {name}" for name in sorted(set(files) - {"manifest"})]
    text = "\n".join([*head, *listed]) + "\n"
    files["manifest"] = Note(text, (signer.signature(text),)).render().encode()


class TestTampering:
    @pytest.mark.parametrize("tampering", TAMPERINGS.values(), ids=TAMPERINGS)
    def test_each_kind(self, of_range, tampering):
        """Whoever touches a bundle is found out."""
        files = dict(of_range)
        tampering(files)
        assert files != of_range
        with pytest.raises(offline.RejectedError):
            offline.verify(files)

    @pytest.mark.parametrize("kind", sorted(set(TAMPERINGS) - MANIFEST_ALONE_TELLS))
    def test_by_the_owner_of_the_key(self, of_range, original, kind):
        """Who can sign another manifest can change no event, no branch and no number either."""
        files = dict(of_range)
        TAMPERINGS[kind](files)
        signed_again(files, signer_of(settings_of(original), original))
        with pytest.raises(offline.RejectedError) as rejected:
            offline.verify(files)
        assert "was changed" not in str(rejected.value)

    @pytest.mark.parametrize(
        "change",
        [
            ("events ", "events 9"),
            ("size ", "size 9"),
            ("origin ", "origin x"),
            ("kind positions", "kind other"),
        ],
    )
    def test_a_manifest_that_lies(self, of_range, original, change):
        """What the owner of the key says of a bundle has to be true of it, too."""
        signer = signer_of(settings_of(original), original)
        text = of_range["manifest"].decode().partition("\n\n")[0] + "\n"
        lying = text.replace(*change, 1)
        assert lying != text
        note = Note(lying, (signer.signature(lying),)).render().encode()
        with pytest.raises(offline.RejectedError):
            offline.verify({**of_range, "manifest": note})

    def test_a_range_with_a_hole(self, original):
        """A range that leaves an event out is not complete, whoever signs it."""
        files = bundle(original, Subject("positions", "40-45", (40, 41, 42, 45)))
        with pytest.raises(offline.RejectedError, match="not every position"):
            offline.verify(files)

    @pytest.mark.parametrize(("left_out", "told"), [(0, "not every event"), (-1, "has not ended")])
    def test_a_request_with_a_hole(self, original, left_out, told):
        """A request without its first or its last event is not complete."""
        stream = completed_request(original)
        positions = [row.position for row in all_rows(original) if row.stream == stream]
        positions.pop(left_out)
        files = bundle(original, Subject("request", stream.removeprefix("request-"), tuple(positions)))
        with pytest.raises(offline.RejectedError, match=told):
            offline.verify(files)

    @pytest.mark.parametrize("place", [0, 2])
    def test_an_event_that_no_branch_leaves_room_for(self, of_request, original, place):
        """Evidence that was added to a request has to be in the tree."""
        lines = of_request["events.jsonl"].splitlines(keepends=True)
        taken = {json.loads(line)["position"] for line in lines}
        free = next(number for number in range(2, 200) if number not in taken)
        forged = {**json.loads(lines[0]), "position": free, "stream": "key-forged"}
        lines.append(json.dumps(forged).encode() + b"\n")
        lines.sort(key=lambda line: json.loads(line)["position"])
        if place:
            lines[0], lines[place] = lines[place], lines[0]
        files = {**of_request, "events.jsonl": b"".join(lines)}
        signed_again(files, signer_of(settings_of(original), original))
        with pytest.raises(offline.RejectedError, match="order" if place else "no place in it"):
            offline.verify(files)

    def test_a_key_with_another_id(self, of_range):
        """The id in a key's line is its own."""
        name, key_id, material = of_range["log.vkey"].decode().strip().split("+", 2)
        assert offline.parse_key(f"{name}+{key_id}+{material}")
        with pytest.raises(offline.RejectedError):
            offline.parse_key(f"{name}+{'0' * 8}+{material}")

    def test_an_archive_too_large(self, of_range, tmp_path, monkeypatch):
        """No archive fills the memory."""
        (tmp_path / "bundle.zip").write_bytes(archived(of_range))
        monkeypatch.setattr(offline, "MOST_BYTES", 1000)
        with pytest.raises(offline.RejectedError, match="too large"):
            offline.read_bundle(tmp_path / "bundle.zip")

    def test_every_missing_file(self, of_range):
        """Without any one of its files a bundle is nothing."""
        for name in of_range:
            with pytest.raises(offline.RejectedError):
                offline.verify({other: data for other, data in of_range.items() if other != name})

    def test_every_missing_line(self, of_request):
        """Without any one event a bundle is nothing, also with another manifest over what is left."""
        lines = of_request["events.jsonl"].splitlines(keepends=True)
        for at in range(len(lines)):
            files = {**of_request, "events.jsonl": b"".join(lines[:at] + lines[at + 1 :])}
            with pytest.raises(offline.RejectedError, match="was changed"):
                offline.verify(files)

    @pytest.mark.parametrize("name", ["manifest", "checkpoint", "tree.json", "report.json", "log.vkey"])
    def test_every_byte(self, of_range, name):
        """No byte of the small files can change."""
        for at in range(0, len(of_range[name]), 7):
            content = bytearray(of_range[name])
            content[at] ^= 1
            with pytest.raises(offline.RejectedError):
                offline.verify({**of_range, name: bytes(content)})

    def test_another_key(self, of_range):
        """A bundle that somebody else signed whole is rejected by the key that is known."""
        known = NoteSigner("apikeyrouter/other", bytes(32)).key.render()
        with pytest.raises(offline.RejectedError, match="another key"):
            offline.verify(of_range, known)

    def test_what_the_process_says(self, of_range, tmp_path):
        """A rejection has a reason and exit code 1; so has a bundle that cannot be read."""
        write_bundle({**of_range, "report.json": b"{}"}, tmp_path / "bundle")
        run = by_itself(tmp_path / "bundle")
        assert (run.returncode, run.stdout) == (1, "REJECTED: report.json was changed\n")
        (tmp_path / "mine.py").write_bytes(verifier_source())
        assert by_itself(tmp_path, "nowhere.zip", script="mine.py").returncode == 1
        (tmp_path / "bundle" / "sub").mkdir()
        assert by_itself(tmp_path, "bundle", script="mine.py").returncode == 1

    def test_a_name_twice_in_an_archive(self, of_range, tmp_path):
        """Two readers of an archive might take two files for the same."""
        path = tmp_path / "bundle.zip"
        path.write_bytes(archived(of_range))
        with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
            archive.writestr("checkpoint", of_range["checkpoint"])
        with pytest.raises(offline.RejectedError, match="twice"):
            offline.read_bundle(path)

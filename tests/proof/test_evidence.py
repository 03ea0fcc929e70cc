"""Bundles of evidence: made of a sealed log, verified by a process that has nothing but the bundle."""

import json
import shutil
import sys

import pytest
from bundle_givens import bundle, by_itself
from sealed_logs import all_rows, edit, evidence

from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.adapters.proof.evidence_bundle import archived, verifier_source, write_bundle
from apikeyrouter.adapters.proof.offline import verify as offline
from apikeyrouter.application.proof import subjects
from apikeyrouter.errors import InvalidRequestError, NotFoundError


class TestAnIntactBundle:
    def test_a_folder(self, of_request, tmp_path):
        """It runs where it lies, without a network and without this package, and says what it is about."""
        write_bundle(of_request, tmp_path / "bundle")
        run = by_itself(tmp_path / "bundle")
        assert run.returncode == 0, run.stdout + run.stderr
        assert run.stdout.startswith("VERIFIED")

    def test_an_archive(self, of_range, tmp_path, original):
        """A zip archive is verified too, by a verifier from elsewhere and a key that is known."""
        write_bundle(of_range, tmp_path / "bundle.zip")
        (tmp_path / "mine.py").write_bytes(verifier_source())
        key = evidence(original).key.render()
        run = by_itself(tmp_path, "bundle.zip", "--key", key, "--json", script="mine.py")
        told = json.loads(run.stdout)
        assert (run.returncode, told["verified"], told["key_given"]) == (0, True, True)
        assert (told["events"], told["subject"]) == (101, "40-140")

    def test_it_imports_nothing_of_ours(self):
        """The verifier stands alone: the standard library and cryptography."""
        imports = [
            line.split()[1]
            for line in verifier_source().decode().splitlines()
            if line.startswith(("import ", "from "))
        ]
        assert {name.partition(".")[0] for name in imports} - set(sys.stdlib_module_names) == {"cryptography"}

    def test_the_report_adds_up(self, of_range, original):
        """The totals are those of the events, counted here in another way."""
        rows = [row for row in all_rows(original) if 40 <= row.position <= 140]
        settled = [json.loads(row.state) for row in rows if row.name.startswith("request.completed")]
        report = json.loads(of_range["report.json"])
        assert report["events"] == 101
        assert report["totals"]["completed"] == len(settled) > 10
        assert report["totals"]["output_tokens"] == sum(one["output_tokens"] for one in settled) > 0
        assert sum(one["completed"] for one in report["by_key_id"].values()) == len(settled)

    def test_a_request_has_its_evidence(self, of_request, original):
        """The events that the decision refers to come with it, and do not count in its report."""
        events = [json.loads(line) for line in of_request["events.jsonl"].splitlines()]
        streams = {event["stream"].partition("-")[0] for event in events}
        assert {"request", "key", "catalogue"} <= streams
        assert json.loads(of_request["report.json"])["totals"]["completed"] == 1

    def test_the_same_archive(self, of_range):
        """The same files make the same bytes."""
        assert archived(of_range) == archived(dict(reversed(of_range.items())))

    def test_every_range(self, original):
        """Any range is small around its events, and verifies."""
        count = len(all_rows(original))
        for first, last in [(1, 1), (1, count), (count, count), (2, count - 1), (17, 18)]:
            files = bundle(original, subjects.of_positions(first, last))
            assert offline.verify(files)["events"] == last - first + 1


class TestWhatCannotBeBundled:
    def test_what_is_not_sealed(self, original):
        """Events behind the latest checkpoint have no proof yet."""
        count = len(all_rows(original))
        with pytest.raises(NotFoundError, match="is not sealed"):
            bundle(original, subjects.of_positions(1, count + 1))

    @pytest.mark.parametrize(("first", "last"), [(0, 1), (5, 4)])
    def test_no_range(self, first, last):
        """A range has a beginning and an end."""
        with pytest.raises(InvalidRequestError):
            subjects.of_positions(first, last)

    def test_what_is_gone(self, log):
        """Evidence is not made of a log that has holes."""
        edit(log, "DELETE FROM stored_events WHERE notification_id = 50")
        with pytest.raises(InvalidRequestError, match="are gone"):
            bundle(log, subjects.of_positions(40, 60))

    def test_a_place_that_is_taken(self, of_range, tmp_path):
        """Nothing is written over."""
        with pytest.raises(InvalidRequestError, match="exists already"):
            write_bundle(of_range, tmp_path)

    def test_a_period(self, original):
        """A period is the range of positions from its first event to its last."""
        reader = SqliteReader(original)
        events = list(reader.read())
        since, until = events[30].event.at_us, events[60].event.at_us
        subject = subjects.of_period(reader, since, until)
        assert subject.positions[0] <= 31
        assert subject.positions[-1] == 60
        with pytest.raises(NotFoundError):
            subjects.of_period(reader, 0, 1)


def test_a_bundle_on_disk_is_as_made(of_range, tmp_path):
    """Folder and archive hold the same files."""
    write_bundle(of_range, tmp_path / "folder")
    write_bundle(of_range, tmp_path / "file.zip")
    shutil.rmtree(tmp_path / "folder" / "__pycache__", ignore_errors=True)
    assert offline.read_bundle(tmp_path / "folder") == offline.read_bundle(tmp_path / "file.zip") == of_range

"""Retention on the command line: alone, and beside the log that others read."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from apikeyrouter.interfaces.cli.main import app

RUNNER = CliRunner()


def run(*words, log, code=0):
    """Run a command on a log; return what it printed."""
    result = RUNNER.invoke(app, [*words, "-d", str(log)])
    assert result.exit_code == code, result.output
    return result


def told(*words, log, code=0):
    return json.loads(run(*words, "--json", log=log, code=code).stdout)


@pytest.fixture(autouse=True)
def _sealed_fast(monkeypatch, calendar):
    monkeypatch.setenv("APIKEYROUTER_SEAL_INTERVAL_S", "0.05")


class TestFromPolicyToArchive:
    def test_nothing_is_dropped_by_default(self, whole):
        """Without a retention everything is kept, and a run says so."""
        assert told("retention", "status", log=whole)["keep_days"] is None
        made = told("retention", "apply", log=whole)
        assert (made["step"], made["events"], made["segments"]) == ("done", 0, [])
        assert made["reason"] == "no retention is set: everything is kept"

    def test_the_whole_way(self, whole):
        """Set, look, try, apply, verify with the archive, explain what is gone, restore."""
        assert told("retention", "set", "400d", log=whole)["warning"] is None
        assert "EU AI Act" in told("retention", "set", "30d", log=whole)["warning"]
        old = told("retention", "status", log=whole)["old_enough"]
        assert (old["requests"], old["events"]) == (24, 48)
        tried = told("retention", "apply", "--dry-run", log=whole)
        assert (tried["requests"], tried["segments"]) == (24, [])
        assert told("verify", log=whole)["dropped"] == 0
        made = told("retention", "apply", log=whole)
        assert (made["step"], made["requests"], made["events"]) == ("done", 24, 48)
        [name] = made["segments"]
        status = told("retention", "status", log=whole)
        assert [(one["segment"], one["here"], one["removed"]) for one in status["segments"]] == [
            (name, True, True)
        ]
        folder = whole.with_name("log.db.segments")
        verdict = told("verify", "--archive", str(folder), log=whole)
        assert (verdict["intact"], verdict["dropped"], verdict["segments"]) == (True, 48, 1)
        gone = run("explain", (whole.parent / "ids").read_text().split()[3], log=whole, code=1)
        assert name in gone.output
        full = whole.with_name("full.db")
        back = told("retention", "restore", str(folder / name), "--into", str(full), log=whole)
        assert (back["restored"], back["away"]) == (48, [])
        assert told("verify", log=full)["intact"]
        assert told("replay", "verify", log=full)["identical"]
        assert told("explain", (whole.parent / "ids").read_text().split()[3], log=full)["events"]

    def test_a_segment_is_verified_by_its_own_verifier(self, log):
        """Whoever gets a segment needs this package neither to read it nor to verify it."""
        [segment] = log.with_name("log.db.segments").iterdir()
        command = [sys.executable, "-I", "-m", "zipfile", "-e", str(segment), str(log.parent / "out")]
        subprocess.run(command, check=True, timeout=60)
        verifier = [sys.executable, "-I", "verify.py", str(segment), "--json"]
        done = subprocess.run(verifier, cwd=log.parent / "out", capture_output=True, timeout=60, check=True)
        found = json.loads(done.stdout)
        assert (found["verified"], found["kind"], found["events"]) == (True, "segment", 48)

    def test_a_log_is_told_from_its_archive(self, whole, tmp_path):
        """Where only segments are missing or damaged, nobody is told that the log was changed."""
        run("retention", "set", "30d", log=whole)
        [name] = told("retention", "apply", log=whole)["segments"]
        here = whole.with_name("log.db.segments")
        good = run("verify", "--archive", str(here), log=whole).stdout
        assert "1 segments verified" in good
        missing = run("verify", "--archive", str(tmp_path), log=whole, code=1).stdout
        assert "the log is what was sealed, its archive is not" in missing
        assert "0 segments verified" in missing
        (here / name).write_bytes((here / name).read_bytes()[:900])
        damaged = run("verify", "--archive", str(here), log=whole, code=1).stdout
        assert "take another copy" in " ".join(damaged.split())
        assert "not what was sealed" not in damaged


class TestEvents:
    def test_a_listing_says_what_is_left_out(self, log):
        """What is missing between two lines is named below them."""
        [segment] = log.with_name("log.db.segments").iterdir()
        assert segment.name in run("events", log=log).stderr


class TestDoctor:
    def test_recorded_gaps_are_no_complaint(self, log):
        """What a segment holds is told as archived, not as missing."""
        found = RUNNER.invoke(app, ["doctor", "-d", str(log)])
        assert "archived, no gap" in found.output
        assert "is missing" not in found.output

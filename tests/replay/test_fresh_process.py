"""The same bytes everywhere: another process, hash seed, locale and time zone change nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = str(Path(sys.executable).with_name("apikeyrouter"))
WORLDS = [
    {"PYTHONHASHSEED": "0", "LC_ALL": "C", "TZ": "UTC"},
    {"PYTHONHASHSEED": "4242", "LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu"},
    {"PYTHONHASHSEED": "7", "LC_ALL": "ar_EG.UTF-8", "TZ": "America/St_Johns"},
]


def run(log: Path, world: dict[str, str], *arguments: str) -> dict:
    done = subprocess.run(
        [PROGRAM, *arguments, "--database", str(log), "--json"],
        env={"PATH": "/usr/bin:/bin", "HOME": str(log.parent), **world},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("world", WORLDS)
def test_decisions_come_out_the_same_in_any_process(log_file, history, world):
    """Every decision of the log, byte for byte."""
    found = run(log_file, world, "replay", "verify")
    assert found["identical"]
    assert found["events"] == len(history)


def test_a_what_if_says_the_same_in_any_process(log_file):
    """Draws depend on the request and the run alone, never on the process."""
    arguments = ("what-if", "--objective", "cost", "--draws", "2", "--queue-timeout", "0.4")
    told = [run(log_file, world, *arguments) for world in WORLDS[:2]]
    assert told[0] == told[1]
    assert not told[0]["identical"]

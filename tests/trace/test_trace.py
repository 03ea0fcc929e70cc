"""An hour of real traffic, all troubles at once: what strangers find in its log is what was decided in it."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.adapters.proof.seal_folder import SealFolder, seal_folder_beside
from apikeyrouter.application.audit import evidence_of
from apikeyrouter.application.what_if import Change, Stretch, what_if
from apikeyrouter.domain.events import (
    AttemptFailed,
    BudgetAlerted,
    ClockSteppedBack,
    KeyMetadataChanged,
    KeyStateChanged,
    NodeStarted,
    PriceSet,
    ProviderHealthChanged,
    QuotaLimitLearned,
    Recorded,
    RequestCompleted,
    RouteDecided,
    RouteRefused,
)
from apikeyrouter.domain.proof.checkpoints import parse_checkpoint

PROGRAM = str(Path(sys.executable).parent / "apikeyrouter")
TONGUES = ("tr_TR.UTF-8", "de_DE.UTF-8", "C.UTF-8")
"""The first that the machine knows is the stranger's; in Turkish even letters change their case otherwise."""

STRANGER = {"PYTHONHASHSEED": "4242", "TZ": "Pacific/Kiritimati", "LC_ALL": TONGUES[0]}
OTHER_STRANGER = {"PYTHONHASHSEED": "0", "TZ": "America/St_Johns", "LC_ALL": "C"}
SPEAKING = f"""
import locale
for tongue in {TONGUES}:
    try:
        locale.setlocale(locale.LC_ALL, tongue)
    except locale.Error:
        continue
    break
else:
    raise SystemExit("no locale")
"""


@pytest.fixture(scope="session")
def events(hour) -> list[Recorded]:
    return list(SqliteReader(hour.log).read())


@pytest.fixture
def stranger(tmp_path):
    """Run commands in a fresh process of another world: in it, and in all that it starts, Python speaks."""
    (tmp_path / "sitecustomize.py").write_text(SPEAKING)

    def run(*command: str, world: dict[str, str] = STRANGER) -> str:
        home = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(command, env={**home, **world}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_it_was_an_hour_of_troubles(hour, events):
    """Every request was answered, and everything that can go wrong did, or the rest would prove little."""
    assert sum(hour.statuses.values()) == hour.requests
    assert hour.statuses.keys() <= {200, 429, 502, 503}
    assert hour.statuses[200] > hour.requests / 2
    kinds = Counter(type(one.event) for one in events)
    assert kinds[NodeStarted] == 2
    assert kinds[ClockSteppedBack] >= 2
    assert kinds[PriceSet] == 2
    assert kinds[AttemptFailed] > 100
    assert kinds[BudgetAlerted] > 2
    for kind in (KeyStateChanged, ProviderHealthChanged, QuotaLimitLearned, KeyMetadataChanged):
        assert kinds[kind], kind.__name__
    decided = [one.event for one in events if isinstance(one.event, RouteDecided)]
    assert any(one.over_budget for one in decided)
    assert any(0 < one.chosen.exhaustion < 1 for one in decided)
    refused = Counter(one.event.reason for one in events if isinstance(one.event, RouteRefused))
    short = {
        one.event.shortfall.scope
        for one in events
        if isinstance(one.event, RouteRefused) and one.event.shortfall
    }
    assert len(short) == 2, refused


def test_every_request_was_decided_on_evidence(hour, events):
    """Each has a decision, every reference resolves, and no position is missing."""
    places = {(one.stream, one.version) for one in events}
    decisions = [one for one in events if isinstance(one.event, RouteDecided | RouteRefused)]
    assert len({one.stream for one in decisions}) == hour.requests
    assert not [
        ref for one in decisions for ref in evidence_of(one.event) if (ref.stream, ref.version) not in places
    ]
    assert [one.position for one in events] == list(range(1, len(events) + 1))


@pytest.mark.parametrize(("workers", "world"), [("1", STRANGER), ("2", OTHER_STRANGER)])
def test_a_stranger_decides_the_same(hour, events, stranger, workers, world):
    """Every decision, byte for byte: another hash seed, time zone and locale, one process or two."""
    command = ("replay", "verify", "--workers", workers, "--database", str(hour.log), "--json")
    found = json.loads(stranger(PROGRAM, *command, world=world))
    decisions = sum(isinstance(one.event, RouteDecided | RouteRefused) for one in events)
    assert found["identical"]
    assert (found["decisions"], found["events"], found["by_former_rules"]) == (decisions, len(events), 0)


def test_a_stranger_makes_the_read_models_again(hour, events, stranger):
    """What grew in five steps over two lives is what one pass makes, table by table, byte by byte."""
    command = ("report", "rebuild", "--check", "--reports", str(hour.reports), "--json")
    found = json.loads(stranger(PROGRAM, *command, "--database", str(hour.log)))
    assert found["identical"]
    assert found["position"] == len(events)


def test_a_stranger_finds_the_sealed_root(hour, events, stranger):
    """Computed over the rows with the standard library alone; every event is under the signed checkpoint."""
    note = SealFolder(seal_folder_beside(hour.log)).latest()
    sealed = parse_checkpoint(note.text)
    script = str(Path(__file__).with_name("foreign_root.py"))
    size, root = stranger(sys.executable, script, str(hour.log)).split()
    assert int(size) == sealed.size == len(events)
    assert root == sealed.root.hex()


def test_without_a_change_the_whole_hour_comes_out_again(events):
    """Every event to the byte, every choice, every total: the control of all that is foretold."""
    found = what_if(events, Change(), Stretch())
    assert found.identical, found.favourable.differs_at
    assert found.before == found.favourable.tally
    assert not found.favourable.choices
    assert found.favourable.bases.keys() == {"recorded"}
    spent = sum(one.event.cost_nano_usd for one in events if isinstance(one.event, RequestCompleted))
    assert found.before.completed == sum(isinstance(one.event, RequestCompleted) for one in events)
    assert found.before.cost_nano_usd >= spent > 0

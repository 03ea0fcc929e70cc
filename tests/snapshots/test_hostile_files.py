"""Files that are no snapshot of this log, this fold and this master key: passed over, and the start works."""

import asyncio
import hmac
import os
import pickle
import shutil
import sqlite3
import zlib
from importlib.metadata import version

import msgspec
import pytest
from quota_givens import running_node
from same_states import differences
from snapshot_givens import (
    copy_log,
    files_of,
    folded_until,
    make_history,
    position_of,
    settings_of,
    snapshots_of,
)
from structlog.testing import capture_logs
from test_closed_table import Command

from apikeyrouter import domain
from apikeyrouter.adapters.snapshots import fold_digest, frozen_state, opening, snapshot_folder
from apikeyrouter.adapters.snapshots.entry_queues import CopiedQueues
from apikeyrouter.adapters.snapshots.frozen_state import StoredState
from apikeyrouter.adapters.snapshots.snapshot_file import FORMAT, opened, seal_key, sealed
from apikeyrouter.adapters.vault.master_key import parse_master_key

OTHER_KEY = "A" * 43 + "="


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A log with its snapshots, made once; tests take copies."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        path = tmp_path_factory.mktemp("made") / "log.db"
        return asyncio.run(make_history(path, monkeypatch))


@pytest.fixture
def log(made, tmp_path):
    path = copy_log(made, tmp_path)
    for file in files_of(path)[:-1]:
        file.unlink()
    return path


def key_of(path):
    return seal_key(parse_master_key(path.with_name(f"{path.name}.key").read_text()))


async def assert_passed_over(path, reason: str | None) -> None:
    """A start tells operators why, folds the whole log, and serves."""
    with capture_logs() as told:
        async with running_node(settings_of(path)) as node:
            assert node.journal.base == 0
            assert node.ready
            expected = folded_until(path, position_of(files_of(path)[-1]))
            assert node.state.keys.keys() == expected.keys.keys()
    ignored = [line for line in told if line["event"] in {"snapshot_ignored", "snapshot_outdated"}]
    assert bool(ignored) == (reason is not None)
    assert all(reason in line.get("reason", reason) for line in ignored)
    assert "sk-test" not in repr(told)


async def test_a_fitting_file_is_used(log):
    """The same log untouched: else the tests here would prove nothing."""
    async with running_node(settings_of(log)) as node:
        assert node.journal.base == position_of(files_of(log)[-1])


def test_no_byte_can_be_changed(log, monkeypatch):
    """Flip any byte, and nothing of the file is unpickled."""
    monkeypatch.setattr(frozen_state, "_Unpickler", None)
    [file] = files_of(log)
    raw, key = file.read_bytes(), key_of(log)
    snapshots = snapshots_of(log)
    opened(raw, key)
    every = range(len(raw)) if len(raw) < 20_000 else [*range(400), *range(400, len(raw), 97), len(raw) - 1]
    for place in every:
        with pytest.raises(ValueError, match="damaged"):
            opened(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :], key)
    for place in (0, 10, 60, len(raw) // 2, len(raw) - 1):
        file.write_bytes(raw[:place] + bytes([raw[place] ^ 0x80]) + raw[place + 1 :])
        assert snapshots.nearest() is None


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 60, 200, -1, -33])
async def test_a_file_cut_short_is_passed_over(log, length):
    """As a disk that was full, or a copy that broke off, leaves it."""
    [file] = files_of(log)
    file.write_bytes(file.read_bytes()[:length])
    await assert_passed_over(log, "damaged")


async def test_another_logs_snapshot_is_passed_over(log, tmp_path, monkeypatch):
    """Also where it has the same master key and a position that exists in both."""
    other = tmp_path / "other" / "log.db"
    other.parent.mkdir()
    shutil.copy(log.with_name("log.db.key"), other.parent / "log.db.key")
    await make_history(other, monkeypatch)
    [file], theirs = files_of(log), files_of(other)[0]
    file.unlink()
    shutil.copy(theirs, file.parent / theirs.name)
    await assert_passed_over(log, "another log")


async def test_another_folds_snapshot_is_passed_over(log, monkeypatch):
    """A state that other code folded may be another one."""
    [file] = files_of(log)
    head, deflated = opened(file.read_bytes(), key_of(log))
    older = msgspec.structs.replace(head, fold="0" * 64)
    file.write_bytes(sealed(older, zlib.decompress(deflated), key_of(log)))
    await assert_passed_over(log, "another version")


@pytest.mark.parametrize("changed", ["state.py", "models/api_key.py", "proof/leaves.py", "new.py"])
def test_any_change_of_the_domains_sources_makes_another_fold(tmp_path, monkeypatch, changed):
    """Whatever is changed there, states of before are folded anew."""
    before = fold_digest.fold_digest()
    copy = tmp_path / "domain"
    shutil.copytree(domain.__path__[0], copy)
    monkeypatch.setattr(domain, "__path__", [str(copy)])
    assert fold_digest.fold_digest() == before
    with (copy / changed).open("a") as source:
        source.write("\n")
    assert fold_digest.fold_digest() != before


@pytest.mark.parametrize("library", ["numpy", "msgspec", "tzdata"])
def test_another_version_of_what_it_rests_on_makes_another_fold(monkeypatch, library):
    """Numbers, decoding and time zones come from there."""
    before = fold_digest.fold_digest()
    monkeypatch.setattr(fold_digest, "version", lambda name: "0" if name == library else version(name))
    assert fold_digest.fold_digest() != before


def test_a_file_that_is_far_too_large_is_not_read(log, monkeypatch):
    """Whoever may write there cannot fill the memory of a node."""
    monkeypatch.setattr(snapshot_folder, "MOST_SNAPSHOT_BYTES", files_of(log)[0].stat().st_size - 1)
    assert snapshots_of(log).nearest() is None


def test_without_sources_there_are_no_snapshots(log, monkeypatch):
    """What folds must be known: else nothing is kept and nothing is used."""

    def gone():
        raise FileNotFoundError("no sources")

    monkeypatch.setattr(opening, "fold_digest", gone)
    assert opening.open_snapshots(settings_of(log)).nearest() is None


def test_another_master_keys_snapshot_is_passed_over(log):
    """Whoever has not the key can neither make nor change a snapshot."""
    assert snapshots_of(log, encryption_key=OTHER_KEY).nearest() is None


async def test_a_snapshot_ahead_of_its_log_is_passed_over(log):
    """A log that was put back to an earlier copy: its seals refuse the start, and this is right before."""
    [file] = files_of(log)
    _cut(log, position_of(file) - 1)
    assert snapshots_of(log).nearest() is None


async def test_a_log_that_went_on_otherwise_is_folded_anew(log):
    """Another event stands at the position now."""
    [file] = files_of(log)
    with sqlite3.connect(log) as connection:
        connection.execute(
            "UPDATE stored_events SET topic = topic || '0' WHERE notification_id = ?",
            [position_of(file)],
        )
    connection.close()
    with capture_logs() as told:
        assert snapshots_of(log).nearest() is None
    assert "another event" in told[0]["reason"]


def test_a_row_that_left_for_its_age_is_known_by_its_seal(log):
    """The hash of a dropped row stays in the seals; so a state at its position is used still."""
    [file] = files_of(log)
    with sqlite3.connect(log) as connection:
        connection.execute(
            "INSERT INTO stored_events SELECT NULL, originator_id, 999, topic, state"
            " FROM stored_events WHERE notification_id = 1"
        )
        connection.execute("DELETE FROM stored_events WHERE notification_id = ?", [position_of(file)])
    connection.close()
    assert snapshots_of(log).nearest()[0] == position_of(file)


async def test_a_renamed_file_is_passed_over(log):
    """Its own position counts, not the one that somebody gave it."""
    [file] = files_of(log)
    file.rename(file.with_name(f"{position_of(file) - 1:016}.snapshot"))
    await assert_passed_over(log, "its name is not its own")


def _link(file):
    elsewhere = file.rename(file.parent.parent / "elsewhere")
    file.symlink_to(elsewhere)


def _directory(file):
    file.unlink()
    file.mkdir()


def _pipe(file):
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize("make", [_link, _directory, _pipe])
async def test_what_is_no_plain_file_is_passed_over(log, make):
    """Nobody follows a link, and nobody waits for a pipe."""
    [file] = files_of(log)
    make(file)
    await assert_passed_over(log, "")


@pytest.mark.parametrize("makes", ["file", "link"])
async def test_where_the_folder_is_something_else_nothing_is_written(log, tmp_path, makes):
    """The node serves without snapshots, and says so."""
    folder = files_of(log)[0].parent
    shutil.rmtree(folder)
    if makes == "file":
        folder.write_bytes(b"")
    else:
        (tmp_path / "elsewhere").mkdir()
        folder.symlink_to(tmp_path / "elsewhere")
    with capture_logs() as told:
        snapshots_of(log).keep(folded_until(log))
    assert [line["event"] for line in told] == ["snapshot_not_kept"]
    assert not files_of(tmp_path / "elsewhere")


def test_a_pickle_that_would_execute_something_is_never_read(log, tmp_path, monkeypatch):
    """Without the key its seal is wrong, and nothing looks at it; with the key its name is in no table."""
    [file] = files_of(log)
    head, _ = opened(file.read_bytes(), key_of(log))
    trap = tmp_path / "sprung"
    skeleton = pickle.dumps(Command(os.mkdir, str(trap)))
    content = msgspec.msgpack.encode(StoredState(skeleton, CopiedQueues().encoded()))
    for key in (bytes(32), key_of(log)):
        file.write_bytes(sealed(head, content, key))
        assert snapshots_of(log).nearest() is None
    assert not trap.exists()


def test_another_format_is_refused(log):
    """What a later version writes is not read by this one."""
    [file] = files_of(log)
    body = file.read_bytes().replace(FORMAT, FORMAT.replace(b"1", b"2"))[:-32]
    with pytest.raises(ValueError, match="another format"):
        opened(body + hmac.digest(key_of(log), body, "sha256"), key_of(log))


def test_a_state_that_is_not_the_heads_is_refused(log):
    """The seal vouches for both; that they belong together is looked at all the same."""
    [file] = files_of(log)
    head, deflated = opened(file.read_bytes(), key_of(log))
    later = msgspec.structs.replace(head, latest_us=head.latest_us + 1)
    file.write_bytes(sealed(later, zlib.decompress(deflated), key_of(log)))
    assert snapshots_of(log).nearest() is None


def test_an_older_one_serves_where_the_newest_does_not_fit(made, tmp_path):
    """And what was folded on from it is what a fold from the beginning gives."""
    path = copy_log(made, tmp_path)
    oldest, *others = files_of(path)
    for file in others:
        file.write_bytes(b"x")
    position, state = snapshots_of(path).nearest()
    assert position == position_of(oldest)
    assert differences(state, folded_until(path, position)) == []


def test_the_files_are_their_owners_alone(made):
    """They tell of keys and clients what the log tells, in a folder that nobody else looks into."""
    for file in files_of(made):
        assert file.stat().st_mode & 0o777 == 0o600
    assert files_of(made)[0].parent.stat().st_mode & 0o777 == 0o700


def _cut(log, last: int) -> None:
    with sqlite3.connect(log) as connection:
        connection.execute("DELETE FROM stored_events WHERE notification_id > ?", [last])
    connection.close()

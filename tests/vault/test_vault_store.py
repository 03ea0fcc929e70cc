"""What the vault's file keeps, and what it must not keep."""

import os
import random
import sqlite3
import stat
import subprocess
import sys

import pytest

from apikeyrouter.adapters.vault.envelope import Sealed
from apikeyrouter.adapters.vault.store import VaultStore
from apikeyrouter.domain.models.system_error import ConfigurationError, LogUnavailableError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.db.vault"


@pytest.fixture
def store(path):
    store = VaultStore(path)
    yield store
    store.close()


def bytes_on_disk(path):
    return b"".join(file.read_bytes() for file in sorted(path.parent.iterdir()))


class CarelessSqlite:
    """A build of SQLite that keeps what was deleted, as most are; Debian's does not."""

    Error = sqlite3.Error

    @staticmethod
    def connect(*args, **options):
        connection = sqlite3.connect(*args, **options)
        connection.execute("pragma secure_delete=off")
        return connection


def chance_of(seed):
    return random.Random(seed)  # noqa: S311 - a test repeats


def sealed(seed, material_bytes=80):
    chance = chance_of(seed)
    return Sealed(data_key=chance.randbytes(60), material=chance.randbytes(material_bytes))


def traces(rows, path):
    """Return the rows of which any sixteen bytes in a row are still in the files."""
    raw = bytes_on_disk(path)
    return [
        row
        for row in rows
        if any(part[at : at + 16] in raw for part in row for at in range(0, len(part) - 15, 16))
    ]


class TestDeletion:
    def test_a_deleted_row_leaves_no_byte_in_any_file(self, store, path):
        """Deleting overwrites material and data key; a raw search of all files finds neither."""
        row = sealed(1)
        store.put("k1", row)
        assert traces([row], path)
        store.delete("k1")
        assert not traces([row], path)

    def test_replaced_material_leaves_no_byte_either(self, store, path):
        """Rotation destroys what it replaces."""
        old, new = sealed(1), sealed(2)
        store.put("k1", old)
        store.put("k1", new)
        assert not traces([old], path)
        assert traces([new], path)

    def test_deletion_overwrites_even_before_the_file_is_rewritten(self, path, monkeypatch):
        """The row is zeroed in its place, whatever SQLite's build does by default."""
        monkeypatch.setattr("apikeyrouter.adapters.vault.store.sqlite3", CarelessSqlite)
        store = VaultStore(path)
        monkeypatch.setattr(store, "_sweep", lambda: None)
        row = sealed(1)
        store.put("k1", row)
        store.delete("k1")
        assert not traces([row], path)

    @pytest.mark.parametrize(
        ("seed", "deleted", "replaced", "sizes"),
        [(3, 0.4, 0.0, [80]), (0, 0.0, 0.5, [40, 80, 200])],
        ids=["deleted", "replaced"],
    )
    def test_copies_that_sqlite_left_when_it_moved_rows_go_too(
        self, store, path, seed, deleted, replaced, sizes
    ):
        """After hundreds of changes no trace of any gone row is left, on whatever page it once lay.

        With these seeds SQLite 3.40 leaves one, secure_delete notwithstanding, unless the file is rewritten.
        """
        store._database.execute("pragma synchronous=off")
        chance, live, gone = chance_of(seed), {}, []
        for _ in range(400):
            fate = chance.random()
            if live and fate < deleted:
                subject = chance.choice(list(live))
                gone.append(live.pop(subject))
                store.delete(subject)
                continue
            if live and fate < deleted + replaced:
                subject = chance.choice(list(live))
                gone.append(live[subject])
            else:
                subject = chance.randbytes(16).hex()
            live[subject] = Sealed(chance.randbytes(60), chance.randbytes(chance.choice(sizes)))
            store.put(subject, live[subject])
        assert len(gone) > 100
        assert not traces(gone, path)

    def test_deleting_what_is_not_there_writes_nothing(self, store, path):
        """Start-up may destroy the same keys again at no cost."""
        store.put("k1", sealed(1))
        before = bytes_on_disk(path)
        store.delete("k2")
        assert bytes_on_disk(path) == before


class TestFiles:
    def test_only_the_owner_may_read(self, path):
        """The file is made with mode 0600, whatever the umask, and brought back to it on opening."""
        before = os.umask(0)
        try:
            VaultStore(path).close()
        finally:
            os.umask(before)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.chmod(0o644)
        VaultStore(path).close()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_there_is_no_moment_at_which_others_may_read(self, path, monkeypatch):
        """The file is made closed, not closed after it was made."""
        monkeypatch.setattr(type(path), "chmod", lambda _self, _mode: None)
        before = os.umask(0)
        try:
            VaultStore(path).close()
        finally:
            os.umask(before)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_the_journal_of_a_running_change_is_as_closed_as_the_file(self, store, path):
        """A rollback journal holds sealed rows as well."""
        store.put("k1", sealed(1))
        with store._database.atomic():
            store._database.execute("delete from sealed")
            journal = path.with_name(f"{path.name}-journal")
            assert stat.S_IMODE(journal.stat().st_mode) == 0o600
        assert not journal.exists()

    def test_no_write_ahead_log_is_kept(self, store, path):
        """A write-ahead log would outlive the rows that passed through it."""
        store.put("k1", sealed(1))
        assert [file.name for file in path.parent.iterdir()] == [path.name]

    @pytest.mark.parametrize("damage", [b"not a database, but long enough to look like one" * 40, b"x"])
    def test_a_file_that_is_no_vault_is_refused_by_name(self, path, damage):
        """Whatever lies there is left alone, and the message names it."""
        path.write_bytes(damage)
        with pytest.raises(ConfigurationError, match=r"log\.db\.vault"):
            VaultStore(path)
        assert path.read_bytes() == damage

    def test_a_directory_that_is_missing_is_named(self, tmp_path):
        """The vault does not make directories."""
        with pytest.raises(ConfigurationError, match="nowhere"):
            VaultStore(tmp_path / "nowhere" / "log.db.vault")


class TestTroubleWhileRunning:
    def test_a_full_disk_is_told_and_the_old_row_stays(self, store):
        """What cannot be written raises an error that says so; what was there is still there."""
        row = sealed(1)
        store.put("k1", row)
        pages = next(store._database.query("pragma page_count"))["page_count"]
        store._database.execute(f"pragma max_page_count={pages}")
        with pytest.raises(LogUnavailableError, match="cannot be written") as refused:
            store.put("k2", sealed(2, material_bytes=60_000))
        assert refused.value.code == "vault_unavailable"
        assert store.get("k1") == row
        assert store.get("k2") is None

    def test_a_closed_store_says_that_it_cannot_be_read(self, path):
        """No traceback of the database library reaches the caller."""
        store = VaultStore(path)
        store.close()
        with pytest.raises(LogUnavailableError, match="cannot be read"):
            store.get("k1")

    def test_another_process_that_holds_the_file_is_waited_for_no_longer_than_the_timeout(self, store, path):
        """A locked file is an error of the same kind."""
        store._database.execute("pragma busy_timeout=1")
        other = sqlite3.connect(path)
        other.execute("begin exclusive")
        try:
            with pytest.raises(LogUnavailableError, match="locked"):
                store.put("k1", sealed(1))
        finally:
            other.close()


def test_importing_the_vault_does_not_import_its_database_library():
    """What is slow to import is imported when a vault opens."""
    code = "import sys, apikeyrouter.adapters.vault; print('sqlite_utils' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"

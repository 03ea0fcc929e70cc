"""A node looks before it appends, seals what it appends, and stops where the log is not what was sealed."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from loopback import eventually
from sealed_logs import all_rows, edit, settings_of, verdict_of

from apikeyrouter import ApiKeyRouter
from apikeyrouter.adapters.proof.seal_folder import SealFolder
from apikeyrouter.adapters.proof.seal_writer import SealWriter
from apikeyrouter.application.proof import patrol, sealing, startup
from apikeyrouter.application.proof.startup import LogInconsistentError
from apikeyrouter.bootstrap import open_node
from apikeyrouter.errors import ConfigurationError, LogLockedError, LogUnavailableError, NotFoundError

DELETE = "DELETE FROM stored_events WHERE notification_id"
FORGED = (
    "INSERT INTO stored_events (originator_id, originator_version, topic, state)"
    " VALUES ('key-forged', 1, 'key.revoked.v1', x'7b7d')"
)
CRASHING = Path(__file__).with_name("crash_after.py")


def seals_of(log):
    return log.with_name(f"{log.name}.seals")


async def started(log):
    """Start a node and stop it in good order."""
    node = await open_node(settings_of(log))
    await node.close()


class TestRefusals:
    @pytest.mark.parametrize(
        ("statements", "told"),
        [
            ([f"{DELETE} > 200", "UPDATE sqlite_sequence SET seq = 200"], "older file"),
            (["UPDATE stored_events SET state = x'7b7d' WHERE notification_id = 250"], "position 250"),
            ([f"{DELETE} = 3"], "position 3: it is missing"),
            ([FORGED], "closed in good order"),
        ],
    )
    async def test_a_log_that_was_tampered_with(self, log, statements, told):
        """The start is refused, the message says where to look, and not one byte is added."""
        edit(log, *statements)
        before = all_rows(log)
        with pytest.raises(LogInconsistentError, match=told):
            await open_node(settings_of(log))
        assert all_rows(log) == before

    async def test_a_cut_tail(self, log):
        """A log whose counter knows more than its rows is refused before the seals are asked."""
        edit(log, "DELETE FROM stored_events WHERE notification_id > 200")
        with pytest.raises(Exception, match="its last events were deleted"):
            await open_node(settings_of(log))

    async def test_an_older_file(self, log, tmp_path):
        """Bringing back an older copy of the database is noticed by its newer seals."""
        older = tmp_path / "older.db"
        shutil.copy(log, older)
        await started(log)
        shutil.copy(older, log)
        with pytest.raises(LogInconsistentError, match="older file"):
            await open_node(settings_of(log))

    async def test_no_database(self, log):
        """Seals without a log are a log that was taken away."""
        log.unlink()
        with pytest.raises(LogInconsistentError, match="ends at 0"):
            await open_node(settings_of(log))

    async def test_no_seals(self, log):
        """Throwing the seals away is no way around them."""
        shutil.rmtree(seals_of(log))
        with pytest.raises(LogInconsistentError, match="its seals are gone"):
            await open_node(settings_of(log))

    async def test_no_signing_key(self, log):
        """Without its key nothing can be sealed, and a new one would be another log's."""
        log.with_name("log.db.signing-key").unlink()
        with pytest.raises(NotFoundError, match="is gone"):
            await open_node(settings_of(log))

    @pytest.mark.parametrize("name", ["leaves", "latest"])
    async def test_changed_seals(self, log, name):
        """Seals that do not fit their own checkpoint are refused."""
        file = seals_of(log) / name
        content = bytearray(file.read_bytes())
        content[-100] ^= 1
        file.write_bytes(content)
        with pytest.raises(LogInconsistentError):
            await open_node(settings_of(log))

    async def test_another_master_key(self, log):
        """The signing key opens only with the master key that it was sealed with."""
        log.with_name("log.db.vault").unlink()
        settings = settings_of(log, encryption_key="00" * 32)
        with pytest.raises(ConfigurationError, match="another master key"):
            await open_node(settings)

    async def test_a_start_that_fails_for_another_reason(self, log):
        """It leaves the seals closed, so that nobody can slip in events as if a process had died."""
        with pytest.raises(ConfigurationError):
            await open_node(settings_of(log, encryption_key="00" * 32))
        assert SealFolder(seals_of(log)).closed
        edit(log, FORGED)
        with pytest.raises(LogInconsistentError, match="closed in good order"):
            await open_node(settings_of(log))

    async def test_one_sealer(self, log):
        """Two processes never seal into one folder."""
        held = SealWriter(seals_of(log))
        with pytest.raises(LogLockedError):
            await open_node(settings_of(log))
        held.close()
        await started(log)


class TestSealing:
    async def test_everything_is_sealed_in_the_end(self, log):
        """After a close in good order every event is covered, and the next start goes on from there."""
        for _ in range(3):
            await started(log)
            verdict = verdict_of(log)
            assert verdict.intact
            assert verdict.unsealed == 0
            assert SealFolder(seals_of(log)).closed

    async def test_it_follows_the_log(self, tmp_path):
        """While a node runs, what is durable is soon covered by a checkpoint."""
        log = tmp_path / "log.db"
        node = await open_node(settings_of(log, seal_interval_s=0.01))
        try:
            seals = SealFolder(seals_of(log))
            await eventually(lambda: seals.latest() is not None and seals.count == node.state.position)
            assert not seals.closed
            assert verdict_of(log).intact
        finally:
            await node.close()

    async def test_an_idle_log_is_sealed_too(self, tmp_path):
        """Without any event checkpoints go on, so that their absence tells something."""
        log = tmp_path / "log.db"
        node = await open_node(settings_of(log, seal_interval_s=0.01, seal_idle_s=0.02))
        try:
            latest = seals_of(log) / "latest"
            made = set()

            def made_again():
                if latest.exists():
                    made.add(latest.stat().st_mtime_ns)
                return len(made) > 4

            await eventually(made_again)
        finally:
            await node.close()
        assert verdict_of(log).intact

    async def test_many_events_do_not_wait_for_the_interval(self, tmp_path, monkeypatch):
        """A burst is sealed at once, however long the interval is."""
        monkeypatch.setattr(sealing, "MOST_UNSEALED", 1)
        log = tmp_path / "log.db"
        node = await open_node(settings_of(log, seal_interval_s=3600, seal_idle_s=3600))
        try:
            seals = SealFolder(seals_of(log))
            await eventually(lambda: seals.count == node.state.position)
        finally:
            await node.close()

    async def test_a_log_from_before_the_seals(self, log):
        """A log that was never sealed is sealed from its first event at its next start."""
        shutil.rmtree(seals_of(log))
        log.with_name("log.db.signing-key").unlink()
        count = len(all_rows(log))
        await started(log)
        verdict = verdict_of(log)
        assert verdict.intact
        assert verdict.sealed > count

    async def test_a_folder_elsewhere(self, tmp_path):
        """The seals can lie on another volume."""
        log, folder = tmp_path / "log.db", tmp_path / "elsewhere"
        node = await open_node(settings_of(log, seal_folder=folder))
        await node.close()
        assert (folder / "checkpoints").exists()
        assert not seals_of(log).exists()

    async def test_a_log_in_memory_has_no_seals(self, tmp_path, monkeypatch):
        """Nothing is written anywhere for a log that ends with its process."""
        monkeypatch.chdir(tmp_path)
        async with ApiKeyRouter():
            pass
        assert not list(tmp_path.iterdir())

    async def test_the_private_key_stays_sealed(self, log):
        """The file of the signing key holds no usable seed, and only its owner may read it."""
        from apikeyrouter.adapters.proof.opening import signer_of

        file = log.with_name("log.db.signing-key")
        seed = signer_of(settings_of(log), log)._private.private_bytes_raw()
        for path in log.parent.rglob("*"):
            if path.is_file():
                assert seed not in path.read_bytes()
                assert seed.hex().encode() not in path.read_bytes()
        assert file.stat().st_mode & 0o777 == 0o600


class TestCrashes:
    @pytest.mark.parametrize("where", ["before_sealing", "torn_files"])
    async def test_a_killed_process(self, tmp_path, where):
        """What was written before the death is sealed at the next start; nobody is accused."""
        log = tmp_path / "log.db"
        command = [sys.executable, str(CRASHING), str(log), where]
        died = await asyncio.to_thread(subprocess.run, command, timeout=60, check=False)
        assert died.returncode == -signal.SIGKILL
        verdict = verdict_of(log)
        assert verdict.intact
        assert verdict.unsealed > 0
        await started(log)
        verdict = verdict_of(log)
        assert verdict.intact
        assert verdict.unsealed == 0

    async def test_a_process_that_dies_before_its_first_checkpoint(self, tmp_path):
        """A key without any checkpoint, where the process died, is no sign of thieves."""
        log = tmp_path / "log.db"
        command = [sys.executable, str(CRASHING), str(log), "first_start"]
        await asyncio.to_thread(subprocess.run, command, timeout=60, check=False)
        assert log.with_name("log.db.signing-key").exists()
        assert SealFolder(seals_of(log)).latest() is None
        await started(log)
        verdict = verdict_of(log)
        assert verdict.intact
        assert verdict.unsealed == 0

    async def test_a_sealer_that_cannot_write(self, log, monkeypatch):
        """A full disk under the seals stops no request; the next start catches up."""
        node = await open_node(settings_of(log))
        with monkeypatch.context() as patched:
            patched.setattr(SealWriter, "conclude", _disk_full)
            await node.close()
        assert not SealFolder(seals_of(log)).closed
        assert verdict_of(log).intact
        await started(log)
        assert verdict_of(log).unsealed == 0


def _disk_full(*_, keep):
    raise OSError(28, os.strerror(28))


class TestPatrol:
    async def test_an_old_event_that_was_changed(self, log, monkeypatch):
        """What the quick look at the start cannot see is seen soon after, and then nothing is served."""
        monkeypatch.setattr(startup, "TAIL_ROWS", 5)
        monkeypatch.setattr(patrol, "PAUSE_S", 0.0)
        edit(log, "UPDATE stored_events SET state = state || x'20' WHERE notification_id = 17")
        node = await open_node(settings_of(log))
        try:
            await eventually(lambda: not node.ready)
            with pytest.raises(LogUnavailableError, match="position 17"):
                await node.journal.log.reopen()
        finally:
            await node.close()
        assert verdict_of(log).first_bad == 17

    async def test_an_intact_log(self, log, monkeypatch):
        """Nobody is accused for nothing."""
        monkeypatch.setattr(patrol, "PAUSE_S", 0.0)
        node = await open_node(settings_of(log))
        node.sealing._patrol._thread.join(10)
        assert node.ready
        await node.close()

    async def test_a_gap_that_the_quick_look_counts(self, log, monkeypatch):
        """A missing event far behind the end is noticed by the number of rows."""
        monkeypatch.setattr(startup, "TAIL_ROWS", 5)
        edit(log, f"{DELETE} = 17")
        with pytest.raises(LogInconsistentError, match="some are missing"):
            await open_node(settings_of(log))

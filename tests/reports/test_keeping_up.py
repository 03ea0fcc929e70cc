"""The file of the read models: kept up with the log by anybody, made anew, and never half a step ahead."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from report_givens import START_US, ListLog, completed, decided, facts, kept

from apikeyrouter.adapters.reports import files
from apikeyrouter.adapters.reports.files import copy_to, fingerprints, rebuild
from apikeyrouter.adapters.reports.schema import shape_of
from apikeyrouter.adapters.reports.store import ReadModelFile
from apikeyrouter.application.projections import projector
from apikeyrouter.application.projections.projector import Advance, Standing, catch_up
from apikeyrouter.application.projections.read_models import READ_MODELS
from apikeyrouter.domain.events import KeyRegistered, key_stream, request_stream
from apikeyrouter.domain.models.system_error import ConfigurationError, ConflictError, LogUnavailableError

DEADLINE_S = 20.0


def busy_log(requests: int = 30) -> ListLog:
    log = ListLog()
    for number in range(requests):
        stream = request_stream(f"{number:032x}")
        log.append(stream, decided(START_US + number, facts(client_id=f"c{number % 3}", tags=("x",))))
        log.append(stream, completed(START_US + number + 1))
    return log


class TestCatchingUp:
    def test_again_changes_nothing(self, tmp_path):
        """Without new events nothing is written: the file stays as it is, to the byte."""
        log = busy_log()
        with kept(log, tmp_path / "r.db") as store:
            before = (tmp_path / "r.db").read_bytes()
            assert catch_up(log, store) == len(log.events)
        assert (tmp_path / "r.db").read_bytes() == before

    def test_two_who_keep_the_same_file_count_nothing_twice(self, tmp_path, monkeypatch):
        """Who comes late finds the position moved, writes nothing, and goes on from there."""
        monkeypatch.setattr(projector, "MOST_PROJECTED_EVENTS", 7)
        log = busy_log()
        with ReadModelFile(tmp_path / "r.db") as slow, ReadModelFile(tmp_path / "r.db") as fast:
            catch_up(ListLog(), slow)
            progress = []

            def overtaken(count):
                progress.append(count)
                catch_up(log, fast)

            assert catch_up(log, slow, progress=overtaken) == len(log.events)
            assert progress == [7]
            assert fingerprints(slow) == fingerprints(kept(log))

    def test_who_finds_paths_that_others_numbered_goes_on_counting(self, tmp_path):
        """Numbers of paths are given once, whoever gives them."""
        log = ListLog()
        with ReadModelFile(tmp_path / "r.db") as one, ReadModelFile(tmp_path / "r.db") as other:
            for number, store in enumerate((one, other, one, other)):
                log.append(request_stream(str(number)), decided(START_US, facts(client_id=f"c{number}")))
                catch_up(log, store)
            assert fingerprints(one) == fingerprints(kept(log))

    def test_paths_of_a_batch_that_failed_are_numbered_again(self, tmp_path, monkeypatch):
        """What was rolled back leaves no number behind in memory."""
        log = busy_log(3)
        with ReadModelFile(tmp_path / "r.db") as store:
            with monkeypatch.context() as patch:
                patch.setattr(ReadModelFile, "_move", _failing)
                with pytest.raises(RuntimeError):
                    catch_up(log, store)
            catch_up(log, store)
            assert fingerprints(store) == fingerprints(kept(log))

    def test_rows_are_not_written_without_their_position(self, tmp_path):
        """A write that starts from elsewhere than where the read models stand is refused whole."""
        log = busy_log(1)
        with kept(log, tmp_path / "r.db") as store:
            before = fingerprints(store)
            stale = Advance(tuple(READ_MODELS), 0, lambda: Standing(9, "x"))
            assert store.write([], stale) is False
            assert fingerprints(store) == before
            assert {one.position for one in store.standings().values()} == {2}

    def test_a_failure_in_the_middle_leaves_nothing_behind(self, tmp_path):
        """Rows and position are one transaction; what failed can be tried again."""
        log = busy_log(3)
        with ReadModelFile(tmp_path / "r.db") as store:

            def failing():
                changes = projector.Projections(READ_MODELS.values()).changes(log.events)
                yield next(iter(changes))
                raise RuntimeError("in the middle")

            with pytest.raises(RuntimeError):
                store.write(failing(), Advance(tuple(READ_MODELS), 0, lambda: Standing(6, "x")))
            assert {one.position for one in store.standings().values()} == {0}
            catch_up(log, store)
            assert fingerprints(store) == fingerprints(kept(log))

    def test_one_that_lags_behind_catches_up_alone(self, tmp_path):
        """Each read model has its own position, and nobody else's rows are written again."""
        log = busy_log()
        with kept(log, tmp_path / "r.db") as store:
            whole = fingerprints(store)
            store.forget(["decisions"])
            standings = store.standings()
            assert (standings["decisions"].position, standings["attempts"].position) == (0, 60)
            assert catch_up(log, store) == 60
            assert fingerprints(store) == whole

    def test_another_shape_or_version_is_made_anew(self, tmp_path, monkeypatch):
        """Rows that an earlier version of the program made are dropped, those of one read model alone."""
        log = busy_log()
        kept(log, tmp_path / "r.db").close()
        newer = type(READ_MODELS["acts"])(
            name="acts",
            about="",
            tables=READ_MODELS["acts"].tables,
            projections=READ_MODELS["acts"].projections,
            version=2,
        )
        monkeypatch.setitem(READ_MODELS, "acts", newer)
        with ReadModelFile(tmp_path / "r.db") as store:
            positions = {name: one.position for name, one in store.standings().items()}
            assert positions.pop("acts") == 0
            assert set(positions.values()) == {60}
        assert shape_of(newer) == shape_of(READ_MODELS["acts"])


class TestAnotherLog:
    def test_a_log_that_was_rolled_back_is_read_anew(self):
        """What stands behind its end is forgotten with everything else."""
        log = busy_log()
        store = kept(log)
        shorter = ListLog((one.stream, one.event) for one in log.events[:10])
        assert catch_up(shorter, store) == 10
        assert fingerprints(store) == fingerprints(kept(shorter))

    def test_a_log_with_another_past_is_read_anew(self):
        """As many events are not the same events."""
        store = kept(busy_log(1))
        other = ListLog([(key_stream("k"), _registered("a")), (key_stream("k2"), _registered("b"))])
        catch_up(other, store)
        assert fingerprints(store) == fingerprints(kept(other))

    def test_a_file_that_holds_anything_else_is_refused(self, tmp_path):
        """A wrong name must not cost anybody a database."""
        import sqlite3

        with sqlite3.connect(tmp_path / "mine.db") as connection:
            connection.execute("CREATE TABLE precious (id)")
        with pytest.raises(ConfigurationError, match="no read models"):
            ReadModelFile(tmp_path / "mine.db")
        (tmp_path / "text.db").write_text("no database at all, but long enough to look at" * 10)
        with pytest.raises(LogUnavailableError):
            ReadModelFile(tmp_path / "text.db")


class TestMadeAnew:
    def test_contents_are_the_same_to_the_byte(self, tmp_path, monkeypatch):
        """Followed bit by bit or made at once: equal hashes, and copies of equal bytes."""
        log = busy_log()
        path = tmp_path / "r.db"
        with monkeypatch.context() as patch, ReadModelFile(path) as followed:
            patch.setattr(projector, "MOST_PROJECTED_EVENTS", 7)
            catch_up(log, followed)
            before = fingerprints(followed)
            copy_to(followed, tmp_path / "followed.db")
        assert rebuild(log, path) == len(log.events)
        with ReadModelFile(path) as made:
            assert fingerprints(made) == before
            copy_to(made, tmp_path / "made.db")
        assert (tmp_path / "followed.db").read_bytes() == (tmp_path / "made.db").read_bytes()

    def test_other_contents_have_another_hash(self):
        """One number more in one row is seen, and in which read model."""
        store = kept(busy_log())
        before = fingerprints(store)
        store.database.execute(
            "UPDATE attempts SET cost_nano_usd = cost_nano_usd + 1 WHERE begun_position = 1"
        )
        after = fingerprints(store)
        assert {name for name in after if after[name] != before[name]} == {"attempts"}

    def test_a_copy_never_overwrites(self, tmp_path):
        """The name of a copy must be a new one."""
        (tmp_path / "there").write_text("precious")
        with pytest.raises(ConflictError):
            copy_to(kept(busy_log(1)), tmp_path / "there")
        assert (tmp_path / "there").read_text() == "precious"

    def test_what_a_killed_rebuild_left_is_swept_by_the_next(self, tmp_path):
        """Files of rebuilds that are under way stay."""
        path = tmp_path / "r.db"
        left = tmp_path / f"r.db.0123{files._UNFINISHED}"
        left.write_text("half")
        with files._unfinished(path) as under_way:
            rebuild(busy_log(1), path)
            assert under_way.exists()
            assert not left.exists()
        assert sorted(one.name for one in tmp_path.iterdir()) == ["r.db"]

    def test_a_failed_rebuild_leaves_the_old_one(self, tmp_path):
        """Nothing is replaced before the new file is whole."""
        path = tmp_path / "r.db"
        kept(busy_log(2), path).close()
        before = path.read_bytes()
        broken = busy_log(2)
        broken.read = lambda *_: (_ for _ in ()).throw(RuntimeError("the log broke"))
        with pytest.raises(RuntimeError):
            rebuild(broken, path)
        assert path.read_bytes() == before
        assert [one.name for one in tmp_path.iterdir()] == ["r.db"]


@pytest.mark.parametrize("how", ["catch_up", "rebuild"])
def test_killed_at_any_instant_it_goes_on_where_it_was(tmp_path, how):
    """A process that dies by `kill -9` leaves whole batches, and the next goes on to the same contents."""
    log, path = busy_log(400), tmp_path / "r.db"
    kept(busy_log(2), path).close()
    program = Path(__file__).with_name("keeping_process.py")
    for events_before_the_kill in (1, 250, 500):
        process = subprocess.Popen(
            [sys.executable, str(program), how, str(path)], stdout=subprocess.PIPE, text=True
        )
        _read_until(process, events_before_the_kill)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=DEADLINE_S)
    with ReadModelFile(path) as store:
        assert catch_up(log, store) == 800
        assert fingerprints(store) == fingerprints(kept(log))


def _read_until(process: subprocess.Popen, events: int) -> None:
    deadline, seen = time.monotonic() + DEADLINE_S, 0
    assert process.stdout is not None
    for line in process.stdout:
        seen += int(line)
        if seen >= events or time.monotonic() > deadline:
            return


def _failing(*_):
    raise RuntimeError("the disk is full")


def _registered(fingerprint: str) -> KeyRegistered:
    return KeyRegistered(at_us=1, actor="ann", provider_id="p", fingerprint=fingerprint)

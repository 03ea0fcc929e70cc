"""The file by which commands find a running server."""

import os

import pytest

from apikeyrouter.adapters.eventlog.lock import WriterLock
from apikeyrouter.domain.models.system_error import ConfigurationError
from apikeyrouter.interfaces.cli.run_file import Run, publish, run_path, running_server, withdraw

RUN = Run(os.getpid(), "http://127.0.0.1:8000", "management-key-of-a-run")


@pytest.fixture
def log(tmp_path):
    """A log that this process writes."""
    path = tmp_path / "log.db"
    lock = WriterLock(path)
    yield path
    lock.release()


def test_round_trip(log):
    """What a server publishes, a command finds, as long as the server writes the log."""
    publish(log, RUN)
    assert running_server(log) == RUN
    withdraw(log)
    assert running_server(log) is None


def test_nobody_writes(tmp_path):
    """A file left behind by a dead process does not count."""
    publish(tmp_path / "log.db", RUN)
    assert running_server(tmp_path / "log.db") is None


def test_somebody_else_writes(log):
    """Nor does one left behind while another process has the log now."""
    publish(log, Run(RUN.pid + 1, RUN.url, RUN.management_key))
    assert running_server(log) is None


def test_a_left_file_is_replaced(log):
    """A new server takes the place of a dead one's file, whatever its mode was."""
    run_path(log).write_text("left behind")
    run_path(log).chmod(0o644)
    publish(log, RUN)
    assert running_server(log) == RUN


def test_open_to_others(log):
    """Whoever could write the file could have keys sent to an address of theirs: it is refused."""
    publish(log, RUN)
    run_path(log).chmod(0o660)
    with pytest.raises(ConfigurationError, match="open to others"):
        running_server(log)


def test_a_link(log, tmp_path):
    """A link could lead to a file that another user prepared: it is refused."""
    publish(log, RUN)
    moved = run_path(log).rename(tmp_path / "elsewhere")
    run_path(log).symlink_to(moved)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        running_server(log)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": "x"}', b"\xff" * 100])
def test_garbage(log, content):
    """What is no run is no server."""
    publish(log, RUN)
    run_path(log).write_bytes(content)
    assert running_server(log) is None


def test_its_key_is_not_shown():
    """The key of a run is in no representation."""
    assert RUN.management_key not in repr(RUN)

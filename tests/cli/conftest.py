"""The command line on a log of the test's own."""

import pytest
from command_line import Commands, Processes


@pytest.fixture
def commands(tmp_path) -> Commands:
    return Commands(tmp_path / "log.db")


@pytest.fixture
def processes(tmp_path) -> Processes:
    return Processes(tmp_path)

"""A sealed log of a few hundred events, made once; tests work on copies."""

import pytest
from bundle_givens import bundle, completed_request
from sealed_logs import all_rows, copy_log, evidence, make_log

from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.application.proof import subjects


@pytest.fixture(scope="session")
def original(tmp_path_factory):
    """Return the file of a log that was sealed in three lives of a node; nobody may change it."""
    return make_log(tmp_path_factory.mktemp("original") / "log.db", requests=120, starts=3)


@pytest.fixture(scope="session")
def rows(original):
    """Return all rows of the original."""
    return all_rows(original)


@pytest.fixture(scope="session")
def sealed(original):
    """Return what the original is verified by."""
    return evidence(original)


@pytest.fixture
def log(original, tmp_path):
    """Return a copy of the original, with its seals and keys, that a test may harm."""
    return copy_log(original, tmp_path)


@pytest.fixture(scope="session")
def of_request(original):
    """Return the files of evidence about one request."""
    return bundle(original, subjects.of_request(SqliteReader(original), completed_request(original)))


@pytest.fixture(scope="session")
def of_range(original):
    """Return the files of evidence about many events."""
    return bundle(original, subjects.of_positions(40, 140))

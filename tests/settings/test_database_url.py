"""How a database is named."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apikeyrouter.database_url import database_file
from apikeyrouter.domain.models.system_error import ConfigurationError
from apikeyrouter.settings import RouterSettings


@pytest.mark.parametrize("url", [None, ":memory:", "sqlite://", "sqlite:///:memory:"])
def test_memory_is_asked_for_by_nothing_or_by_name(url):
    """No file is made for any of these."""
    assert database_file(url) is None


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("log.db", "log.db"),
        ("./data/log.db", "data/log.db"),
        ("/var/lib/router/log.db", "/var/lib/router/log.db"),
        ("sqlite:///log.db", "log.db"),
        ("sqlite:///data/log.db", "data/log.db"),
        ("sqlite:////var/lib/log.db", "/var/lib/log.db"),
        ("C:\\data\\log.db", "C:\\data\\log.db"),
        ("with space and ?.db", "with space and ?.db"),
    ],
)
def test_paths_and_sqlite_urls_name_a_file(url, path):
    """Three slashes are relative, four absolute, as everywhere."""
    assert database_file(url) == Path(path)


def test_the_home_directory_is_found():
    """The environment has no shell that would."""
    assert database_file("~/log.db") == Path.home() / "log.db"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "PostgreSQL", "postgresql+psycopg"])
def test_postgresql_is_told_to_be_missing(scheme):
    """The message says what it would be for, and shows no password."""
    with pytest.raises(ConfigurationError, match="several hosts") as refused:
        database_file(f"{scheme}://router:hunter2@db.example.org/log")
    assert "not in this version" in refused.value.message
    assert "hunter2" not in refused.value.message
    assert refused.value.param == "database_url"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql://router:hunter2@db/log", "'mysql'"),
        ("file:log.db?mode=ro", "'file'"),
        ("sqlite:log.db", "'sqlite'"),
        ("sqlite://host/log.db", "has a host"),
        ("sqlite:///log.db?mode=hunter2", "no options"),
        ("sqlite:///", "names no file"),
        ("", "names no file"),
        ("data/", "names no file"),
        ("log\0.db", "names no file"),
    ],
)
def test_anything_else_is_refused_unseen(url, told):
    """Nothing is guessed, and what may hold a password is not quoted."""
    with pytest.raises(ConfigurationError, match=told) as refused:
        database_file(url)
    assert "hunter2" not in refused.value.message


def test_settings_refuse_it_at_the_start():
    """Not when the log is first needed."""
    with pytest.raises(ConfigurationError, match="PostgreSQL"):
        RouterSettings(database_url="postgresql://router:hunter2@db/log")


@given(url=st.text(max_size=40))
def test_any_text_is_a_path_or_a_refusal(url):
    """No other error leaves the parser, except for a home directory that does not exist."""
    try:
        path = database_file(url)
    except ConfigurationError:
        return
    assert path is None or isinstance(path, Path)

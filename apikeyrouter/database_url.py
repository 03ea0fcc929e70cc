"""How a database is named: a path, `sqlite:///path`, or nothing for a log in memory."""

import re
from pathlib import Path

from apikeyrouter.domain.models.system_error import ConfigurationError

_SQLITE = "sqlite://"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")  # two letters and more: C:\ is a drive
_IN_MEMORY = frozenset({":memory:", "sqlite://", "sqlite:///:memory:"})
_WANTED = "give a path, sqlite:///relative/path or sqlite:////absolute/path"


def database_file(database_url: str | None) -> Path | None:
    """Return the file that a database URL names, None for memory; refuse what is no SQLite file.

    The URL itself is never quoted: those of other databases hold passwords.
    """
    if database_url is None or database_url in _IN_MEMORY:
        return None
    path = _sqlite_path(database_url) if database_url.startswith(_SQLITE) else _plain_path(database_url)
    if not path or "\0" in path or path.endswith("/"):
        raise _refused(f"database_url names no file: {_WANTED}")
    return at_home(Path(path), "database_url")


def at_home(path: Path, param: str) -> Path:
    """Expand a leading `~`, as no shell does it for the environment."""
    try:
        return path.expanduser()
    except RuntimeError:
        message = f"{param} begins with {path.parts[0]}, which is nobody's home directory here"
        raise ConfigurationError(message, param=param) from None


def _sqlite_path(url: str) -> str:
    rest = url.removeprefix(_SQLITE)
    if not rest.startswith("/"):
        raise _refused(f"database_url has a host, which a SQLite file has not: {_WANTED}")
    if "?" in rest or "#" in rest:
        raise _refused("database_url takes no options after the path; settings of their own exist for them")
    return rest[1:]


def _plain_path(text: str) -> str:
    scheme = _SCHEME.match(text)
    if scheme is None:
        return text
    if scheme[1].lower().startswith("postgres"):
        raise _refused(
            "database_url names PostgreSQL: several hosts on one log come with PostgreSQL support,"
            f" which is not in this version; {_WANTED}"
        )
    raise _refused(f"database_url has the scheme {scheme[1]!r}, which is not known: {_WANTED}")


def _refused(message: str) -> ConfigurationError:
    return ConfigurationError(message, param="database_url")

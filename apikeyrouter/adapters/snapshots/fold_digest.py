"""Which fold made a state: a hash of all that decides what comes out of it, the code and what it rests on."""

import hashlib
import platform
from importlib.metadata import version
from pathlib import Path

from apikeyrouter import domain
from apikeyrouter.adapters import snapshots

_PACKAGES = (domain, snapshots)
_LIBRARIES = ("numpy", "msgspec", "tzdata")


def fold_digest() -> str:
    """Hash the sources of the domain and of this package, and the versions of Python and its libraries.

    Raises `FileNotFoundError` where the sources are not there as files.
    """
    digest = hashlib.sha256()
    versions = [f"{platform.python_implementation()} {platform.python_version()}"]
    versions += [f"{library} {version(library)}" for library in _LIBRARIES]
    for part in versions:
        _add(digest, part.encode())
    for package in _PACKAGES:
        folder = Path(package.__path__[0])
        sources = sorted(folder.rglob("*.py"))
        if not sources:
            raise FileNotFoundError(f"no sources in {folder}")
        for source in sources:
            _add(digest, source.relative_to(folder).as_posix().encode())
            _add(digest, source.read_bytes())
    return digest.hexdigest()


def _add(digest: "hashlib._Hash", part: bytes) -> None:
    digest.update(len(part).to_bytes(8, "big"))
    digest.update(part)

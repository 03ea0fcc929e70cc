"""Files that outlive a power cut: made, replaced and removed together with their names."""

import os
from pathlib import Path

OWNER_ONLY = 0o600


def write_new(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Make a file that does not exist yet; raises `FileExistsError` otherwise."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def replace(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Put a file in the place of another: whoever reads sees the old one or the new one, whole."""
    beside = path.with_name(f"{path.name}.new")
    beside.unlink(missing_ok=True)
    write_new(beside, content, mode)
    beside.replace(path)
    sync_folder(path.parent)


def remove(path: Path) -> None:
    """Remove a file; harmless if there is none."""
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    sync_file(folder)


def sync_file(path: Path) -> None:
    """Make what anybody wrote into a file durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class GrowingFile:
    """A file to append to, whose end is where the last whole append ended, whatever a failed one left."""

    def __init__(self, path: Path, size: int) -> None:
        """Open the file, made if need be, and cut it to a size."""
        self.size = size
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self.sync()

    def append(self, content: bytes) -> None:
        """Write behind the end; it is not durable yet."""
        written = 0
        while written < len(content):
            written += os.pwrite(self._descriptor, content[written:], self.size + written)
        self.size += len(content)

    def sync(self) -> None:
        """Make what was appended durable."""
        os.ftruncate(self._descriptor, self.size)
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Give the file back."""
        os.close(self._descriptor)

"""What the tests of proof start from: a log that was sealed by a node, its rows in memory, and forgeries."""

import asyncio
import contextlib
import shutil
import sqlite3
from pathlib import Path

from apikeyrouter import ApiKeyRouter, RouterSettings
from apikeyrouter.adapters.proof.opening import evidence_of
from apikeyrouter.adapters.proof.stored_rows import StoredRows
from apikeyrouter.application.proof.ports import FIRST_POSSIBLE, Extent
from apikeyrouter.application.proof.verification import Evidence, verify
from apikeyrouter.domain.proof.leaves import StoredRow
from apikeyrouter.domain.proof.merkle import Frontier
from apikeyrouter.infrastructure.adapters.openai_adapter import OpenAIAdapter
from apikeyrouter.interfaces.scripted_provider import KeyScript, Script, ThreadedProvider

INTENT = {"model": "swift-1", "messages": [{"role": "user", "content": "Hello!"}]}
SCRIPT = Script(keys={"good": KeyScript(key="sk-test-good")}, output_tokens=8)


def settings_of(path: Path, **changes) -> RouterSettings:
    """Return the settings of a log whose commits need not survive a power cut."""
    return RouterSettings(database_url=str(path), synchronous="NORMAL", **changes)


def make_log(path: Path, *, requests: int, starts: int = 1) -> Path:
    """Let a node route requests, in several lives, the first key being rejected; return the log's file."""
    with ThreadedProvider(SCRIPT) as provider:
        for start in range(starts):
            asyncio.run(_live(path, provider.base_url, requests // starts, first=start == 0))
    return path


async def _live(path: Path, base_url: str, requests: int, *, first: bool) -> None:
    async with ApiKeyRouter(config=settings_of(path)) as router:
        if first:
            await router.register_provider("openai", OpenAIAdapter(base_url=base_url))
            await router.register_key("sk-test-dead", "openai")
            await router.register_key("sk-test-good", "openai")
        for _ in range(requests):
            await router.route(INTENT, "reliability")


def copy_log(path: Path, folder: Path) -> Path:
    """Copy a log with its seals and keys."""
    for file in path.parent.iterdir():
        if file.name.startswith(path.name):
            (shutil.copytree if file.is_dir() else shutil.copy2)(file, folder / file.name)
    return folder / path.name


def edit(path: Path, *statements: str) -> None:
    """Change the file as somebody with write access to it can."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def evidence(path: Path, **changes) -> Evidence:
    return evidence_of(settings_of(path, **changes), path)


def verdict_of(path: Path):
    """Verify a log as it lies there."""
    return verify(evidence(path))


def all_rows(path: Path) -> list[StoredRow]:
    return [row for page in StoredRows(path).pages() for row in page]


class RowsInMemory:
    """Rows that a test may forge; by position, like the store's."""

    def __init__(self, rows: list[StoredRow], last_ever: int | None = None) -> None:
        self.rows = sorted(rows)
        self.last_ever = last_ever

    def pages(self, first: int = FIRST_POSSIBLE, until: int | None = None, *, most: int = 2000):
        chosen = [row for row in self.rows if row[0] >= first and (until is None or row[0] <= until)]
        for begin in range(0, len(chosen), most):
            yield chosen[begin : begin + most]

    def extent(self) -> Extent:
        last = self.rows[-1][0] if self.rows else 0
        first = self.rows[0][0] if self.rows else 0
        return Extent(len(self.rows), first, last, self.last_ever or last)

    def of_stream(self, stream: str) -> list[StoredRow]:
        return sorted((row for row in self.rows if row.stream == stream), key=lambda row: row.version)

    def count(self, first: int, last: int) -> int:
        return sum(first <= row.position <= last for row in self.rows)

    def make_durable(self) -> None:
        pass

    def damage(self) -> list[str]:
        return []


def root_of(hashes):
    """Return the root over hashes of leaves."""
    tree = Frontier()
    tree.extend(hashes)
    return tree.root()

"""What `doctor` examines: one small function a subject, each yielding findings."""

import os
import platform
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from apikeyrouter.adapters.eventlog.connections import sqlite_warnings
from apikeyrouter.adapters.eventlog.lock import read_owner
from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.application.retention.gaps import retention_of
from apikeyrouter.domain.models.system_error import SystemError as RouterError
from apikeyrouter.interfaces.cli.findings import Finding
from apikeyrouter.interfaces.cli.options import settings_from
from apikeyrouter.interfaces.cli.run_file import running_server
from apikeyrouter.interfaces.cli.seal_checkup import look_at_seals
from apikeyrouter.interfaces.cli.vault_checkup import look_at_vault
from apikeyrouter.settings import RouterSettings

LEAST_FREE_BYTES = 1024**3
MEGABYTE = 1024 * 1024


def examine(database: str | None) -> list[Finding]:
    """Look at everything; what cannot be looked at is a finding too."""
    findings = [*_versions()]
    try:
        settings = settings_from(database_url=database)
    except RouterError as error:
        return [*findings, Finding("fail", "settings", error.message)]
    for look in CHECKS:
        told = {finding.detail for finding in findings}  # a log that cannot be read stops more than one look
        findings += [finding for finding in _guarded(look, settings) if finding.detail not in told]
    return findings


def _guarded(
    look: Callable[[RouterSettings], Iterator[Finding]], settings: RouterSettings
) -> Iterator[Finding]:
    """Yield what is found, and what stops the search."""
    try:
        yield from look(settings)
    except (RouterError, OSError) as error:
        what = look.__name__.strip("_").removeprefix("look_at_")
        yield Finding("fail", what, getattr(error, "message", None) or str(error))


def _versions() -> Iterator[Finding]:
    yield Finding("ok", "python", f"{platform.python_version()} on {sys.platform}")
    warnings = sqlite_warnings()
    for warning in warnings:
        yield Finding("warn", "sqlite", warning)
    if not warnings:
        yield Finding("ok", "sqlite", sqlite3.sqlite_version)


def _settings(settings: RouterSettings) -> Iterator[Finding]:
    for described in settings.describe():
        yield Finding("ok", described.variable, f"{described.value} ({described.source})")


def _exposure(settings: RouterSettings) -> Iterator[Finding]:
    settings.check_exposure()
    managed = "a management key is set" if settings.management_api_key else "no management key, loopback only"
    yield Finding("ok", "exposure", f"{settings.host}:{settings.port}, {managed}")


def _log(settings: RouterSettings) -> Iterator[Finding]:
    path = settings.database_path
    if path is None:
        yield Finding("warn", "log", "in memory: history ends with the process")
    elif not path.exists():
        yield Finding("warn", "log", f"{os.path.realpath(path)} does not exist yet")
    else:
        head = SqliteReader(path).head()
        megabytes = path.stat().st_size / MEGABYTE
        yield Finding("ok", "log", f"{os.path.realpath(path)}, {megabytes:.1f} MB, position {head:,}")
        yield _readable(path, head)


def _readable(path: Path, head: int) -> Finding:
    """Decode every event: one that cannot be read stops every fold."""
    reader = SqliteReader(path)
    dropped, expected, count = retention_of(reader, head).dropped, 1, 0
    for recorded in reader.read(until=head):
        count += 1
        missing = dropped.others(expected, recorded.position - 1)
        if missing:
            return Finding("fail", "log positions", f"position {missing[0][0]} is missing")
        expected = recorded.position + 1
    if expected != head + 1:
        return Finding("fail", "log positions", f"{head + 1 - expected} events are missing at the end")
    archived = f", {head - count:,} archived" if count < head else ""
    return Finding("ok", "log readable", f"{count:,} events{archived}, no gap")


def _writer(settings: RouterSettings) -> Iterator[Finding]:
    path = settings.database_path
    owner = None if path is None else read_owner(path)
    if path is None or owner is None:
        yield Finding("ok", "writer", "nobody writes the log now")
        return
    server = running_server(path)
    where = f", serving {server.url}" if server else ""
    yield Finding("ok", "writer", f"process {owner.pid}{where}")


def _disk(settings: RouterSettings) -> Iterator[Finding]:
    folder = (settings.database_path or Path.cwd()).resolve().parent
    free_bytes = shutil.disk_usage(folder).free
    status = "ok" if free_bytes >= LEAST_FREE_BYTES else "warn"
    yield Finding(status, "free disk space", f"{free_bytes / MEGABYTE:,.0f} MB at {folder}")


CHECKS = (_settings, _exposure, _log, look_at_seals, _writer, look_at_vault, _disk)

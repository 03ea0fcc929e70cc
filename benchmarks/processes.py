"""Processes under measurement: started on their own core, weighed, paused while others have their turn."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


class NotStartedError(Exception):
    """A process could not be installed or started; the message says why."""


class Cores(NamedTuple):
    """Where what runs: the gateway alone on one core, load generator and upstream on the other."""

    gateway: int
    load: int

    @classmethod
    def choose(cls) -> "Cores":
        """Take the first two cores that this process may use."""
        usable = sorted(os.sched_getaffinity(0))
        return cls(usable[0], usable[1] if len(usable) > 1 else usable[0])


class Child:
    """A process of ours in a session of its own, so that whatever it starts is counted and ended with it."""

    def __init__(
        self, command: Sequence[str], *, core: int, log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        pinned = [shutil.which("taskset") or "taskset", "-c", str(core), *command]
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                pinned,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
                start_new_session=True,
            )
        self.pid = self._process.pid

    def wait_for_port(self, port: int, within_s: float) -> None:
        """Return once something listens; raise with the end of the log if nothing does."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise NotStartedError(f"exited with {self._process.returncode}: {self.last_words()}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            time.sleep(0.05)
        raise NotStartedError(f"did not listen within {within_s:.0f} s: {self.last_words()}")

    def wait_for_word(self, pattern: re.Pattern[str], within_s: float) -> str:
        """Return the first group of a pattern once it was printed."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline and self._process.poll() is None:
            if found := pattern.search(self.log.read_text(errors="replace")):
                return found.group(1)
            time.sleep(0.05)
        raise NotStartedError(f"did not print {pattern.pattern}: {self.last_words()}")

    def last_words(self) -> str:
        """Return the end of what it printed."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-3:])[-600:]

    def cpu_ms(self) -> float:
        """User and system time of the whole session since its start."""
        return session_cpu_ms(self.pid)

    def rss_mib(self) -> float:
        """Resident memory of the whole session."""
        return sum(used.rss_mib for used in _session(self.pid))

    def pause(self) -> None:
        """Stop the session where it stands, so that it takes nothing from those being measured."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let the session go on."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End the session, kindly first."""
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)


def session_cpu_ms(session_id: int) -> float:
    """User and system time of all processes of a session."""
    return sum(used.cpu_ms for used in _session(session_id))


def machine_cpu_ms() -> float:
    """CPU time that the whole machine has spent on anything."""
    user, nice, system, _idle, _waiting, *others = (
        Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    return sum(int(ticks) for ticks in (user, nice, system, *others[:3])) * TICK_MS


class _Used(NamedTuple):
    cpu_ms: float
    rss_mib: float


def _session(session_id: int) -> Iterator[_Used]:
    """Read what each process of a session has used; children that were waited for count with their parent."""
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            stat = Path(entry.path, "stat").read_text()
            fields = stat[stat.rindex(")") + 2 :].split()
            if int(fields[3]) == session_id:
                ticks = sum(int(field) for field in fields[11:15])
                yield _Used(ticks * TICK_MS, int(fields[21]) * PAGE_MIB)


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""The stage of the gateway suite: upstream, load generator and gateways, only one of them awake at a time."""

import json
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import msgspec

from benchmarks.gateways import Gateway, Place, start
from benchmarks.load.plan import Plan, Report
from benchmarks.processes import Child, Cores, NotStartedError, free_port, machine_cpu_ms, session_cpu_ms
from benchmarks.report import RESULTS
from benchmarks.wire import chat_body

CLIENT_HEADERS = {"authorization": "Bearer sk-bench-client"}


class Actor(NamedTuple):
    """A gateway that runs: its process, its port, and how it is spoken to."""

    gateway: Gateway
    child: Child
    port: int


class Weighed(NamedTuple):
    """One phase: what the client saw, and what it cost the gateway."""

    report: Report
    gateway_cpu_ms: float
    load_core_busy: float
    strangers_busy: float
    """Cores that were taken by processes which have no part in this."""
    upstream_calls: int

    @property
    def cpu_ms_per_request(self) -> float:
        """CPU of the gateway for one request."""
        return self.gateway_cpu_ms / max(1, self.report.completed + self.report.failed)


class Stage:
    """Context of a run: everything that it starts ends with it."""

    def __init__(self, stream_gap_ms: float) -> None:
        self.cores = Cores.choose()
        RESULTS.mkdir(exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="run-", dir=RESULTS))
        self.actors: list[Actor] = []
        self.absent: dict[str, str] = {}
        self._upstream_port = free_port()
        self._upstream = self._python("benchmarks.upstream", "--gap-ms", str(stream_gap_ms))
        self._load = subprocess.Popen(
            ["taskset", "-c", str(self.cores.load), sys.executable, "-m", "benchmarks.load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        try:
            self._upstream.wait_for_port(self._upstream_port, within_s=10)
        except NotStartedError:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def direct(self, gateway: Gateway) -> Actor:
        """Return the upstream itself as an actor."""
        return Actor(gateway, self._upstream, self._upstream_port)

    def bring_in(self, gateway: Gateway) -> Actor | None:
        """Start a gateway and leave it paused; where that fails, remember why."""
        upstream_url = f"http://127.0.0.1:{self._upstream_port}"
        place = Place(upstream_url, free_port(), self.cores.gateway, self.folder / gateway.name)
        try:
            actor = Actor(gateway, *start(gateway, place))
        except NotStartedError as error:
            self.absent[gateway.name] = str(error)
            return None
        self.actors.append(actor)
        return actor

    def dismiss(self, actor: Actor, reason: str) -> None:
        """End an actor that does not work, and remember why."""
        self.absent[actor.gateway.name] = reason
        self.actors.remove(actor)
        actor.child.stop()

    def load(self, actor: Actor, *, stream: bool = False, **terms: object) -> Report:
        """Put load on an actor."""
        body = chat_body(actor.gateway.model, stream=stream).decode()
        fixed = {"port": actor.port, "path": actor.gateway.path, "headers": CLIENT_HEADERS, "body": body}
        plan = msgspec.convert({**fixed, "stream": stream, **terms}, Plan)
        assert self._load.stdin is not None
        assert self._load.stdout is not None
        self._load.stdin.write(msgspec.json.encode(plan) + b"\n")
        self._load.stdin.flush()
        return msgspec.json.decode(self._load.stdout.readline(), type=Report)

    def weigh(self, actor: Actor, *, stream: bool = False, **terms: object) -> Weighed:
        """Put load on an actor and take its CPU time before and after."""
        calls, before = self.upstream_calls(), self._cpu_ms(actor)
        report = self.load(actor, stream=stream, **terms)
        gateway, load, machine = (now - then for now, then in zip(self._cpu_ms(actor), before, strict=True))
        known = load + (0 if actor.child is self._upstream else gateway)
        elapsed_ms = report.elapsed_s * 1000
        return Weighed(
            report=report,
            gateway_cpu_ms=gateway,
            load_core_busy=load / elapsed_ms,
            strangers_busy=max(0.0, machine - known) / elapsed_ms,
            upstream_calls=self.upstream_calls() - calls,
        )

    def upstream_calls(self) -> int:
        """Ask the upstream how many chat requests have reached it."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._upstream_port}/count", timeout=5) as answer:
            return int(json.load(answer))

    def close(self) -> None:
        """End everything and remove the folder."""
        for actor in self.actors:
            actor.child.stop()
        self._upstream.stop()
        if self._load.stdin is not None:
            self._load.stdin.close()
        self._load.wait(timeout=60)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _python(self, module: str, *arguments: str) -> Child:
        command = [sys.executable, "-m", module, "--port", str(self._upstream_port), *arguments]
        return Child(command, core=self.cores.load, log=self.folder / "upstream.txt")

    def _cpu_ms(self, actor: Actor) -> tuple[float, float, float]:
        """Read what was spent so far by the gateway, by the core of the load, by the machine."""
        load = self._upstream.cpu_ms() + session_cpu_ms(self._load.pid)
        return actor.child.cpu_ms(), load, machine_cpu_ms()

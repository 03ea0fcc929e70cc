"""All routers at once through one scenario, each with a scripted provider of its own, in real time."""

import json
import re
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from apikeyrouter.interfaces.scripted_provider import LedgerView
from benchmarks.processes import Child, Cores, NotStartedError
from benchmarks.routers.catalogue import Router
from benchmarks.routers.figures import Figures, figures, read_played
from benchmarks.routers.plan import Plan
from benchmarks.routers.scenarios import CHANGE_AT, Scenario, script_for

ROOT = Path(__file__).parents[2]
URL = re.compile(r'"url":"(http://[\d.:]+)"')
READY = re.compile(r"^(ready)$", re.MULTILINE)
DONE = re.compile(r"^(done)$", re.MULTILINE)
START_WITHIN_S = 120.0
LEAD_S = 0.5
"""Between the word to go and the first request, so that every process has heard it."""

Given = TypeVar("Given", "Place", "Lane")
Made = TypeVar("Made")


class Place(NamedTuple):
    """Where a router runs: its core, and the one of its provider."""

    router: Router
    core: int
    provider_core: int


@dataclass(frozen=True, kw_only=True)
class Lane:
    """A router and its provider, both running."""

    router: Router
    plan: Plan
    provider_url: str
    player: Child
    folder: Path


class Race:
    """One scenario. `absent` tells why a router has no figures."""

    def __init__(self, plan: Plan, scenario: Scenario, seconds: float, folder: Path) -> None:
        self.absent: dict[str, str] = {}
        self._plan = plan
        self._scenario = scenario
        self._seconds = seconds
        self._folder = folder

    def run(self, routers: Iterable[Router]) -> dict[str, Figures]:
        """Run every router that can be started, return the figures by name, and end everything."""
        with ExitStack() as processes:
            lanes = self._those_that(lambda place: self._open(place, processes), _places(routers))
            lanes = self._those_that(_wait_until_ready, lanes)
            self._go(lanes)
            return dict(self._those_that(self._finish, lanes))

    def _those_that(self, step: Callable[[Given], Made], given: Iterable[Given]) -> list[Made]:
        """Take a step for each; what fails drops out, with its reason, and the others go on."""
        made = []
        for one in given:
            try:
                made.append(step(one))
            except NotStartedError as error:
                self.absent[one.router.name] = str(error)
        return made

    def _open(self, place: Place, processes: ExitStack) -> Lane:
        router = place.router
        folder = self._folder / router.name
        folder.mkdir(parents=True)
        provider_url = self._provider(folder, place.provider_core, processes)
        plan = replace(self._plan, base_url=f"{provider_url}/v1")
        plan.write(folder / "plan.json")
        command = [str(router.python()), "-m", "benchmarks.routers", router.name, str(folder)]
        env = {"PYTHONPATH": str(ROOT), "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        player = Child(command, core=place.core, log=folder / "player.txt", env=env)
        processes.callback(player.stop)
        return Lane(router=router, plan=plan, provider_url=provider_url, player=player, folder=folder)

    def _provider(self, folder: Path, core: int, processes: ExitStack) -> str:
        script = folder / "script.json"
        script.write_bytes(msgspec.json.encode(script_for(self._plan)))
        command = [sys.executable, "-m", "apikeyrouter.interfaces.scripted_provider", "--script", str(script)]
        provider = Child(command, core=core, log=folder / "provider.txt")
        processes.callback(provider.stop)
        return provider.wait_for_word(URL, START_WITHIN_S)

    def _go(self, lanes: list[Lane]) -> None:
        """Let all begin at the same moment with fresh buckets, and change the key when it is time."""
        for lane in lanes:
            _control("POST", f"{lane.provider_url}/_scripted/reset")
        start_s = time.time() + LEAD_S
        for lane in lanes:
            # Renamed into place, so that nobody reads half of a number.
            (lane.folder / "go.tmp").write_text(repr(start_s))
            (lane.folder / "go.tmp").rename(lane.folder / "go")
        if self._scenario.key is None:
            return
        time.sleep(max(0.0, start_s + CHANGE_AT * self._seconds - time.time()))
        key = self._plan.keys[self._scenario.key]
        for lane in lanes:
            _control("PATCH", f"{lane.provider_url}/_scripted/keys/{key.name}", self._scenario.changes(key))

    def _finish(self, lane: Lane) -> tuple[str, Figures]:
        within_s = self._seconds + lane.plan.queue_timeout_s + lane.plan.attempts * lane.plan.timeout_s
        lane.player.wait_for_word(DONE, within_s)
        ledger = msgspec.json.decode(
            _control("GET", f"{lane.provider_url}/_scripted/ledger?calls=0"), type=LedgerView
        )
        played = read_played(lane.folder / "outcomes.jsonl")
        unsound = () if self._scenario.key is None else (lane.plan.keys[self._scenario.key].name,)
        return lane.router.name, figures(lane.plan, played, ledger.keys, self._seconds, unsound)


def _places(routers: Iterable[Router]) -> list[Place]:
    """Spread the routers over two cores in turn, each with its provider on the other."""
    cores = Cores.choose()
    return [
        Place(router, *((cores.gateway, cores.load) if number % 2 else (cores.load, cores.gateway)))
        for number, router in enumerate(routers)
    ]


def _wait_until_ready(lane: Lane) -> Lane:
    lane.player.wait_for_word(READY, START_WITHIN_S)
    return lane


def _control(method: str, url: str, fields: dict[str, object] | None = None) -> bytes:
    body = None if fields is None else json.dumps(fields).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data=body, method=method), timeout=10) as answer:
        content: bytes = answer.read()
    return content

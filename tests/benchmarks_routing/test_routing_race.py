"""A race starts its processes, changes the key on the way, and goes on without those that do not start."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("benchmarks.routers.race", reason="the benchmarks are not beside this project")
if sys.platform != "linux" or shutil.which("taskset") is None:
    pytest.skip("benchmarks pin their processes, which needs Linux and taskset", allow_module_level=True)

from benchmarks.routers.catalogue import Router, chosen
from benchmarks.routers.plan import PlannedRequest
from benchmarks.routers.planning import make_plan
from benchmarks.routers.race import Race
from benchmarks.routers.scenarios import scenarios

ROOT = Path(__file__).parents[2]
SECONDS = 1.0


@pytest.fixture(scope="module")
def raced(tmp_path_factory):
    """Race two routers for a second; one of them cannot start."""
    requests = tuple(PlannedRequest(0.04 * number, 1, 1) for number in range(25))
    plan = make_plan(None, 600, 60)
    # Wide limits: what is refused here is refused because a key died.
    keys = tuple(replace(key, rpm=6000) for key in plan.keys[:2])
    plan = replace(plan, requests=requests, keys=keys, attempts=1)
    dying = scenarios(("dying",))[0]._replace(key=1)
    broken = Router("broken", "cannot start", lambda: Path(shutil.which("false")), lambda: "0")
    race = Race(plan, dying, SECONDS, tmp_path_factory.mktemp("race"))
    return race, race.run([broken, *chosen(("round-robin",))])


class TestARace:
    def test_a_router_that_does_not_start_is_told(self, raced):
        """One that cannot start has a reason instead of figures, and the others run."""
        race, figures = raced
        assert list(figures) == ["round-robin"]
        assert list(race.absent) == ["broken"]

    def test_the_key_dies_on_the_way(self, raced):
        """The change comes after the start: the key serves before, and is refused then."""
        seen = raced[1]["round-robin"]
        assert seen.requests == 25
        assert seen.utilisation["k1"] > 0
        assert seen.upstream_401 > 0

    def test_failures_come_back_with_their_names(self, raced):
        """What a client saw in the router's process is what the figures tell."""
        seen = raced[1]["round-robin"]
        assert seen.failures == {"401 after 1 attempts": seen.upstream_401}

    def test_warming_up_does_not_count(self, raced):
        """The ledger begins with the first request of the plan."""
        assert raced[1]["round-robin"].upstream_calls == 25


def test_what_rivals_run_needs_no_packages():
    """A rival's interpreter has none of ours: the player and the plan import without any package."""
    told = "import benchmarks.routers.__main__, benchmarks.routers.litellm_router"
    subprocess.run([sys.executable, "-S", "-c", told], cwd=ROOT, check=True, timeout=30)

"""Figures are what happened: failures by kind, calls by status, waits beyond the upstream, evenness."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("benchmarks.routers.figures", reason="the benchmarks are not beside this project")

from apikeyrouter.interfaces.scripted_provider import KeyTally
from benchmarks.routers.figures import Played, figures, jain, read_played, utilisation
from benchmarks.routers.plan import Plan, PlannedKey, PlannedRequest, Tier
from benchmarks.routers.scenarios import nominal_s
from benchmarks.routers.tables import Round, plain_plan, plain_round, show

CHEAP = Tier(name="economy", input_usd_per_mtok=1.0, output_usd_per_mtok=2.0)
DEAR = Tier(name="standard", input_usd_per_mtok=10.0, output_usd_per_mtok=20.0)
PLAN = Plan(
    model="m",
    keys=(
        PlannedKey(name="a", rpm=10, tpm=1000, tier=CHEAP),
        PlannedKey(name="b", rpm=20, tpm=4000, tier=DEAR),
    ),
    requests=(PlannedRequest(0.0, 100, 10), PlannedRequest(1.0, 200, 20), PlannedRequest(2.0, 300, 30)),
    attempts=5,
    timeout_s=60,
    queue_timeout_s=30,
)
TALLIES = {
    "a": KeyTally(calls=3, by_status={200: 1, 429: 2}, input_tokens=100, output_tokens=10),
    "b": KeyTally(calls=2, by_status={200: 1, 401: 1}, input_tokens=200, output_tokens=20),
}


def outcome(number: int, waited_s: float = 0.0, failure: str | None = None) -> dict:
    took_s = nominal_s(PLAN.requests[number].output_tokens) + waited_s
    return {"number": number, "late_s": 0.0, "took_s": took_s, "failure": failure}


PLAYED = Played(outcomes=(outcome(0, 0.5), outcome(1, 1.5), outcome(2, 9.0, "429 x")), cpu_s=0.25)


@pytest.fixture
def seen():
    return figures(PLAN, PLAYED, TALLIES, 60, unsound=())


class TestTheFigures:
    def test_what_the_provider_saw(self, seen):
        """Calls and refusals are the provider's own count."""
        assert (seen.upstream_calls, seen.upstream_429, seen.upstream_401) == (5, 2, 1)
        assert seen.calls_per_request == pytest.approx(5 / 3)

    def test_what_clients_saw(self, seen):
        """Failures are counted by kind, and do not enter the waits."""
        assert (seen.requests, seen.failed, seen.failures) == (3, 1, {"429 x": 1})
        assert seen.waited_p99_s == pytest.approx(1.5)
        assert seen.waited_mean_s == pytest.approx(1.0)

    def test_what_it_cost(self, seen):
        """Tokens are priced by the key that served them, for each thousand answered."""
        assert seen.usd_per_1000 == pytest.approx(1000 * (120e-6 + 2400e-6) / 2)

    def test_a_router_that_answered_nothing(self):
        """A run in which everything failed has figures too."""
        played = Played(outcomes=(outcome(0, 0, "gone"),), cpu_s=0.0)
        empty = {key.name: KeyTally() for key in PLAN.keys}
        none = figures(PLAN, played, empty, 60, unsound=())
        assert (none.failed, none.fullest_to_mean, none.jain) == (1, 0.0, 1.0)
        show([Round(0, "healthy", {"apikeyrouter": none})])


class TestTheSpread:
    def test_the_nearer_limit_counts(self):
        """A key is as full as the dimension that is nearer to its limit."""
        key = PLAN.keys[0]
        assert utilisation(key, KeyTally(by_status={200: 5}, input_tokens=100), 60) == 0.5
        assert utilisation(key, KeyTally(by_status={200: 5}, input_tokens=900), 60) == 0.9
        assert utilisation(key, KeyTally(by_status={200: 5}, input_tokens=900), 120) == 0.45

    def test_a_key_that_was_changed_is_left_out(self, seen):
        """Avoiding a key that died is no unevenness."""
        without = figures(PLAN, PLAYED, TALLIES, 60, unsound=("b",))
        assert (without.fullest_to_mean, without.jain) == (1.0, 1.0)
        assert seen.jain < 1.0
        assert without.utilisation == seen.utilisation

    @given(st.lists(st.floats(0, 1e6), min_size=1))
    def test_the_index_lies_between_one_for_all_and_all_alike(self, values):
        """Jain's index is 1 where all are alike, and never below one share."""
        assert 1 / len(values) - 1e-9 <= jain(values) <= 1 + 1e-9
        assert jain([3.0] * len(values)) == pytest.approx(1)
        assert jain([1.0, *[0.0] * 3]) == 0.25


class TestTheFiles:
    def test_the_outcomes_read_back(self, tmp_path):
        """What a player wrote line by line is read whole, its CPU time from the last line."""
        lines = [*PLAYED.outcomes, {"cpu_s": 0.25}]
        (tmp_path / "outcomes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        assert read_played(tmp_path / "outcomes.jsonl") == PLAYED

    def test_results_are_json_without_keys(self, seen):
        """Everything that is saved can be written as JSON, and tells no key."""
        saved = json.dumps([plain_plan(PLAN), plain_round(Round(0, "healthy", {"x": seen}))])
        assert "sk-bench" not in saved

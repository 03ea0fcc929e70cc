"""A plan is a slice of real or modelled traffic, with keys that it nearly fills."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("benchmarks.routers.plan", reason="the benchmarks are not beside this project")

from apikeyrouter.interfaces.scripted_provider.asks import tokens_in
from apikeyrouter.interfaces.traffic import Arrival, generate
from benchmarks.routers.plan import PlannedRequest, read_plan, text_of
from benchmarks.routers.planning import LOAD, SHARES, cut, keys_for, make_plan
from benchmarks.routers.scenarios import SCENARIOS, nominal_s, scenarios, script_for

SECOND_US = 1_000_000
SECONDS = 120.0


@pytest.fixture(scope="module")
def plan():
    return make_plan(None, 600.0, SECONDS)


class TestTheSlice:
    def test_its_moments_count_from_its_beginning(self):
        """What lies in the slice is kept in order, and its clock begins with the slice."""
        arrivals = [Arrival(10 * SECOND_US + at * SECOND_US, at + 1, 2) for at in range(10)]
        assert cut(arrivals, 3, 2) == (PlannedRequest(0.0, 4, 2), PlannedRequest(1.0, 5, 2))

    def test_nothing_is_asked_without_tokens(self):
        """A prompt or an answer of no tokens becomes one of one token, as providers want it."""
        assert cut([Arrival(0, 0, 0)], 0, 1) == (PlannedRequest(0.0, 1, 1),)

    def test_it_ends_an_endless_stream(self):
        """A model that yields for ever is read only as far as the slice goes."""
        requests = cut(generate(3, 10**9), 0, 5)
        assert requests
        assert requests[-1].at_s < 5

    def test_a_slice_behind_the_end_is_an_error(self, tmp_path):
        """A trace that is too short for the slice says so instead of racing over nothing."""
        trace = tmp_path / "trace.csv"
        trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.68,374,44\n")
        with pytest.raises(ValueError, match="no requests between 600 s"):
            make_plan(trace, 600, 10)


class TestTheKeys:
    def test_together_they_hold_the_load(self, plan):
        """The offered load is the same share of all limits together, in requests and in tokens."""
        minutes = SECONDS / 60
        rpm = len(plan.requests) / minutes
        tpm = sum(one.input_tokens + one.output_tokens for one in plan.requests) / minutes
        assert rpm / sum(key.rpm for key in plan.keys) == pytest.approx(LOAD, rel=0.02)
        assert tpm / sum(key.tpm for key in plan.keys) == pytest.approx(LOAD, rel=0.02)

    def test_they_are_unequal_and_of_two_prices(self, plan):
        """No two neighbours are alike, and both prices hold a good part of the capacity."""
        assert len({key.rpm for key in plan.keys}) > len(SHARES) / 2
        dear = sum(key.tpm for key in plan.keys if key.tier.name == "standard")
        assert 0.25 < dear / sum(key.tpm for key in plan.keys) < 0.75

    def test_each_could_serve_the_largest_request(self, plan):
        """No request is larger than a key's minute: such a one would never be served there."""
        largest = max(one.input_tokens + one.output_tokens for one in plan.requests)
        assert largest <= min(key.tpm for key in plan.keys)

    @given(st.integers(1, 500), st.floats(1, 600))
    def test_every_key_has_limits(self, count, seconds):
        """However little is asked, no key is left without a limit that a provider can hold."""
        keys = keys_for(tuple(PlannedRequest(0.0, 1, 1) for _ in range(count)), seconds)
        assert all(key.rpm >= 1 and key.tpm >= 1 for key in keys)


class TestTheFile:
    def test_it_reads_back(self, plan, tmp_path):
        """What a rival reads is what was written."""
        told = replace(plan, base_url="http://127.0.0.1:1/v1")
        told.write(tmp_path / "plan.json")
        assert read_plan(tmp_path / "plan.json") == told

    @given(st.integers(1, 5000), st.integers(0, 10**6))
    def test_a_prompt_has_the_tokens_that_the_provider_counts(self, tokens, number):
        """The provider's count of a prompt is the count that the plan asks for."""
        assert tokens_in(text_of(tokens, number).encode()) == tokens


class TestTheScenarios:
    def test_the_provider_holds_keys_to_what_routers_are_told(self, plan):
        """Every limit in the script is the one in the plan."""
        script = script_for(plan)
        told = {key.name: (key.material, key.rpm, key.tpm) for key in plan.keys}
        assert {name: (one.key, one.rpm, one.tpm) for name, one in script.keys.items()} == told

    @pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
    def test_each_changes_what_it_says(self, plan, scenario):
        """Only where nothing happens does no key change."""
        key = plan.keys[scenario.key or 0]
        assert bool(scenario.changes(key)) == (scenario.name != "healthy")
        assert (scenario.key is None) == (scenario.name == "healthy")

    def test_a_name_that_nobody_knows_is_refused(self):
        """A misspelt scenario is named, with those there are."""
        assert [one.name for one in scenarios(("slow",))] == ["slow"]
        with pytest.raises(ValueError, match="sloow; there are healthy"):
            scenarios(("sloow",))

    def test_a_key_in_health_takes_longer_for_more_words(self):
        """The nominal time of an answer grows with its tokens."""
        assert nominal_s(200) - nominal_s(100) == pytest.approx(nominal_s(100) - nominal_s(0))
        assert nominal_s(100) > nominal_s(0) > 0

"""Generated traffic is the same for a seed, in order, and like the real trace in what routing feels."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest

from apikeyrouter.errors import InvalidRequestError
from apikeyrouter.interfaces.traffic import (
    AZURE_CONVERSATION,
    Arrival,
    TrafficModel,
    fit,
    generate,
    read_trace,
)
from apikeyrouter.interfaces.traffic.fit import counts_in, dispersion
from apikeyrouter.interfaces.traffic.model import INPUT_PLACES, OUTPUT_PLACES

SHARED = Path(__file__).resolve().parents[3] / "shared" / "traces" / "azure_llm_conversation_2023.csv"
TRACE = Path(os.environ.get("APIKEYROUTER_TRACE") or SHARED)
SEEDS = range(12)
HOUR = 19_366
PINNED = [(150557, 1176, 401), (180854, 401, 140), (199257, 881, 48)]


@pytest.fixture(scope="module")
def real() -> np.ndarray:
    if not TRACE.exists():
        pytest.skip("the trace is not here: put it into ../shared/traces or name it in APIKEYROUTER_TRACE")
    return np.array(list(read_trace(TRACE)))


@pytest.fixture(scope="module")
def drawn() -> list[np.ndarray]:
    return [np.array(list(generate(seed, HOUR))) for seed in SEEDS]


def seconds(table: np.ndarray) -> np.ndarray:
    return (table[:, 0] - table[0, 0]) / 1e6


class TestAnyTraffic:
    def test_the_same_seed_draws_the_same(self):
        """A seed decides everything, and another seed something else; more is a continuation."""
        first = list(generate(7, 500))
        assert first == list(generate(7, 500)) == list(generate(7, 900))[:500]
        assert first != list(generate(8, 500))

    def test_the_numbers_of_a_seed_never_change(self):
        """What seed 1 draws is pinned, so that results stay comparable between versions."""
        assert list(generate(1, 3)) == PINNED

    def test_arrivals_are_in_order_and_possible(self):
        """Times never step back, sizes lie within those of the model, the start is as told."""
        arrivals = list(generate(3, 5000, start_us=10**15))
        assert all(one.at_us <= other.at_us for one, other in itertools.pairwise(arrivals))
        assert arrivals[0].at_us >= 10**15
        assert {type(value) for arrival in arrivals for value in arrival} == {int}
        assert all(2 <= arrival.input_tokens <= 14_050 for arrival in arrivals)
        assert all(7 <= arrival.output_tokens <= 1000 for arrival in arrivals)

    def test_a_steady_service_is_a_poisson_process(self):
        """Without wandering and echoes the counts have a dispersion of one at every scale."""
        steady = TrafficModel(
            requests_per_s=20,
            rate_sigma=0,
            rate_memory=0,
            echo_probability=0,
            echo_delay_s=1,
            input_quantiles=(5,) * len(INPUT_PLACES),
            output_quantiles=((6,) * len(OUTPUT_PLACES),),
        )
        table = np.array(list(generate(1, 20_000, model=steady)))
        assert len(table) / seconds(table)[-1] == pytest.approx(20, rel=0.05)
        bursts = [dispersion(seconds(table), window_s) for window_s in (0.1, 1, 5)]
        assert bursts == pytest.approx([1, 1, 1], abs=0.3)
        assert {tuple(sizes) for sizes in table[:, 1:].tolist()} == {(5, 6)}


class TestTheFit:
    def test_finds_what_was_drawn(self):
        """A model that is fitted to drawn traffic is like the model that it was drawn from."""
        fitted = fit(generate(5, 60_000))
        assert fitted.requests_per_s == pytest.approx(AZURE_CONVERSATION.requests_per_s, rel=0.15)
        assert fitted.rate_sigma == pytest.approx(AZURE_CONVERSATION.rate_sigma, rel=0.4)
        assert fitted.rate_memory == pytest.approx(AZURE_CONVERSATION.rate_memory, abs=0.02)
        assert fitted.echo_probability == pytest.approx(AZURE_CONVERSATION.echo_probability, abs=0.08)
        assert fitted.input_quantiles[12] == pytest.approx(AZURE_CONVERSATION.input_quantiles[12], rel=0.05)

    def test_steady_arrivals_have_no_bursts(self):
        """Arrivals like a clock's are fitted as such."""
        fitted = fit(Arrival(number * 100_000, 10, 20) for number in range(10_000))
        assert (fitted.rate_sigma, fitted.echo_probability) == (0, 0)

    @pytest.mark.parametrize(("count", "every_us"), [(0, 1), (999, 1_000_000), (2000, 100_000)])
    def test_too_little_is_refused(self, count, every_us):
        """Too few arrivals, or too short a time, are told."""
        with pytest.raises(InvalidRequestError, match="a fit needs"):
            fit(Arrival(number * every_us, 1, 1) for number in range(count))

    def test_the_constants_are_its_result(self, real):
        """The numbers in the package are what the fit makes of the trace."""
        if len(real) != HOUR:
            pytest.skip("the trace is another one than the constants come from")
        assert fit(Arrival(*row) for row in real.tolist()) == AZURE_CONVERSATION


class TestLikeTheRealTrace:
    def test_the_rate(self, real, drawn):
        """As many requests a second."""
        rates = [len(table) / seconds(table)[-1] for table in drawn]
        assert np.mean(rates) == pytest.approx(len(real) / seconds(real)[-1], rel=0.1)

    @pytest.mark.parametrize("window_s", [0.5, 1, 5, 10, 60])
    def test_the_bursts(self, real, drawn, window_s):
        """As bursty, from half a second to a minute."""
        bursts = np.mean([dispersion(seconds(table), window_s) for table in drawn])
        assert bursts == pytest.approx(dispersion(seconds(real), window_s), rel=0.35)

    def test_the_memory(self, real, drawn):
        """A busy minute follows a busy minute as often."""

        def memory(table):
            counts = counts_in(seconds(table), 60)
            return np.corrcoef(counts[1:], counts[:-1])[0, 1]

        assert np.mean([memory(table) for table in drawn]) == pytest.approx(memory(real), abs=0.15)

    @pytest.mark.parametrize("column", [1, 2])
    def test_the_sizes(self, real, drawn, column):
        """Inputs and outputs have the same distribution."""
        together = np.concatenate(drawn)[:, column]
        assert together.mean() == pytest.approx(real[:, column].mean(), rel=0.05)
        assert together.std() == pytest.approx(real[:, column].std(), rel=0.08)
        places = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
        assert np.quantile(together, places) == pytest.approx(np.quantile(real[:, column], places), rel=0.15)

    def test_the_dependence(self, real, drawn):
        """Outputs depend on inputs as they do in the trace: not along a line, but by band."""
        together = np.concatenate(drawn)
        for low, high in ((150, 210), (380, 410), (1000, 1150), (3000, 5000)):
            medians = [
                np.median(table[(table[:, 1] >= low) & (table[:, 1] < high), 2]) for table in (together, real)
            ]
            assert medians[0] == pytest.approx(medians[1], rel=0.2)

"""The packaged book: facts of one version of genai-prices, and that we read it as the package itself does."""

import datetime as dt
import math
import subprocess
import sys
from decimal import Decimal
from importlib.metadata import version

import pytest
from book_givens import at_us
from hypothesis import given, settings
from hypothesis import strategies as st

from apikeyrouter.adapters.prices.genai_book import packaged_book
from apikeyrouter.domain.interfaces.provider_adapter import Usage
from apikeyrouter.domain.price_book import book_of, price_for
from apikeyrouter.domain.pricing import cost_nano_usd

OPENAI = ("openai", "https://api.openai.com/v1")
ANTHROPIC = ("anthropic", None)
of_this_version = pytest.mark.skipif(version("genai-prices") != "0.2.3", reason="facts of version 0.2.3")


def price(place, model, at="2026-11-20"):
    """Return what a model costs on a day."""
    return price_for(packaged_book(), *place, model, at_us(at))


@of_this_version
class TestFactsOfThisVersion:
    def test_a_model_with_cached_input(self):
        """gpt-4o costs 2.50, cached 1.25, and 10.00."""
        told = price(OPENAI, "gpt-4o").prices
        assert (told.input, told.cached_input, told.output) == (
            2_500_000_000,
            1_250_000_000,
            10_000_000_000,
        )

    def test_an_embedding_makes_nothing_that_costs(self):
        """text-embedding-3-small costs 0.02 for what goes in."""
        found = price(OPENAI, "text-embedding-3-small")
        assert (found.prices.input, found.prices.output) == (20_000_000, 0)
        assert cost_nano_usd(found, Usage(1_000_000, 0)) == 20_000_000

    def test_a_price_that_changed_on_a_day(self):
        """o3 cost 10.00 until the tenth of June 2025, then 2.00."""
        assert price(OPENAI, "o3", "2025-06-09").prices.input == 10_000_000_000
        assert price(OPENAI, "o3", "2025-06-10").prices.input == 2_000_000_000

    def test_a_price_that_depends_on_the_length(self):
        """claude-sonnet-4-5 costs twice as much above 200,000 tokens of input."""
        found = price(ANTHROPIC, "claude-sonnet-4-5-20250929")
        assert found.at_length(200_000).input == 3_000_000_000
        assert found.at_length(200_001).input == 6_000_000_000
        assert found.prices.cache_write == 3_750_000_000

    def test_pictures_and_sound(self):
        """gpt-image-1 has a price for pictures, gpt-4o-transcribe one for sound, gpt-audio for both ways."""
        assert price(OPENAI, "gpt-image-1").prices.image_input == 10_000_000_000
        assert price(OPENAI, "gpt-4o-transcribe").prices.audio_input == 6_000_000_000
        assert price(OPENAI, "gpt-audio").prices.audio_output > price(OPENAI, "gpt-audio").prices.output

    def test_what_has_no_price_by_tokens_is_unknown(self):
        """whisper-1 is sold by the hour, gemma-3 is named without a price: neither is free."""
        assert price(OPENAI, "whisper-1") is None
        assert price(("google", None), "gemma-3") is None

    def test_what_says_that_it_is_free_is(self):
        """A model whose name ends in :free costs nothing, and that is known."""
        found = price(("x", "https://openrouter.ai/api/v1"), "deepseek/deepseek-r1:free")
        assert cost_nano_usd(found, Usage(10, 10)) == 0

    def test_another_provider_with_the_models_of_openai(self):
        """Azure sells OpenAI's models."""
        place = ("openai", "https://mine.openai.azure.com/openai/v1")
        assert price(place, "gpt-4o").prices.input == 2_500_000_000

    def test_what_floats_left_behind_is_no_price(self):
        """0.18000000000000002 stands for 0.18, and is not rounded up to a nano-dollar more."""
        place = ("x", "https://router.huggingface.co/together/v1")
        assert price(place, "qwen/qwen3-vl-8b-instruct").prices.input == 180_000_000

    def test_a_price_of_the_request_itself(self):
        """Sonar costs 12 dollars for a thousand requests, beside its tokens."""
        found = price(("perplexity", None), "sonar")
        assert cost_nano_usd(found, Usage(1, 0)) == 12_000_000 + 1_000

    def test_its_size(self):
        """What a log keeps of it: some 60 kilobytes of 440."""
        event = packaged_book().adopted(at_us=1, actor="x")
        assert len(packaged_book().content) > 400_000
        assert len(event.content) < 80_000
        assert book_of(event).sha256 == packaged_book().sha256


class TestAsThePackageReadsItself:
    """The package is asked as a second opinion, for every model that it knows."""

    def test_every_name_finds_the_same_model(self):
        """Whole names and made-up ones are found, or not, as the package does it."""
        from genai_prices.data import providers

        book = packaged_book()
        endings = ("", "-2025-01-01", "-latest", "x")
        names = {name for provider in providers for entry in provider.models for name in _names(entry.match)}
        asked = {name.lower() for name in names} | {f"claude-sonnet-4-5{end}" for end in endings}
        for provider in providers:
            section = book.sections[provider.id]
            own = {n.lower() for entry in provider.models for n in _names(entry.match)}
            for name in own | set(sorted(asked)[:: max(1, len(asked) // 60)]):
                for told in (name, f"{name}-tts", f"{name}-20250929"):
                    theirs = next((m for m in provider.models if m.is_match(told)), None)
                    ours = section.find(told)
                    assert (ours and ours.model) == (theirs and theirs.id), (provider.id, told)

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 400_000), st.integers(0, 100_000), st.integers(0, 400), st.integers(0, 86_399))
    def test_every_price_comes_to_the_same_amount(self, consumed, produced, days, second):
        """What plain tokens cost at any instant is what the package makes of them, rounded up."""
        from genai_prices.data import providers

        moment = dt.datetime(2025, 10, 1, tzinfo=dt.UTC) + dt.timedelta(days, second)
        now_us = at_us(moment.replace(tzinfo=None).isoformat())
        book, compared = packaged_book(), 0
        for provider in providers[:: 1 + days % 5]:
            for theirs, ours in zip(provider.models, book.sections[provider.id].models, strict=True):
                told = vars(theirs.get_prices(moment))
                if not {"input_mtok", "output_mtok"} <= set(told) or "requests_kcount" in told:
                    continue
                found = ours.at(now_us)
                exact = _exact_nano_usd(told, consumed, produced)
                tier = [found.prices, *(t.prices for t in found.tiers if t.above_input_tokens < consumed)][-1]
                cost = -(-(consumed * tier.input + produced * tier.output) // 1_000_000)
                assert math.ceil(exact - Decimal("1e-3")) <= cost <= exact + 1, (provider.id, theirs.id)
                compared += 1
        assert compared


def _names(clause):
    for part in (*getattr(clause, "or_", ()), *getattr(clause, "and_", ())):
        yield from _names(part)
    for field in ("equals", "starts_with", "ends_with", "contains"):
        if hasattr(clause, field):
            yield getattr(clause, field)


def _exact_nano_usd(told, consumed: int, produced: int) -> Decimal:
    from genai_prices.types import calc_unit_price

    usd = calc_unit_price(told["input_mtok"], consumed, consumed, 1_000_000)
    return (usd + calc_unit_price(told["output_mtok"], produced, consumed, 1_000_000)) * 10**9


def test_nothing_is_loaded_before_a_book_is_asked_for():
    """Importing the router, or even the adapter, does not import the package."""
    code = (
        "import sys; from apikeyrouter import ApiKeyRouter; import apikeyrouter.adapters.prices.genai_book;"
        "print('genai_prices' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

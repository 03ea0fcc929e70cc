"""`apikeyrouter prices`: see, compare, adopt and set what models cost."""

import pytest

from apikeyrouter.domain.events import Prices
from apikeyrouter.domain.price_book import ModelPrice, Period, PriceBook, Section

USD = 1_000_000_000


def book(version: str, **input_usd: int) -> PriceBook:
    """Return a book of OpenAI's models by the price of their input; output costs twice that."""
    models = tuple(
        ModelPrice(
            model=model,
            names=(model,),
            periods=(Period(prices=Prices(input=usd * USD, output=2 * usd * USD)),),
        )
        for model, usd in input_usd.items()
    )
    sections = [
        Section(provider="openai", address=r"https://api\.openai\.com", models=models),
        Section(provider="elsewhere", address="https://elsewhere", models=models[:1]),
    ]
    return PriceBook("a-source", version, sections)


@pytest.fixture
def packaged(monkeypatch):
    installed = [book("1", small=1, large=10)]
    monkeypatch.setattr("apikeyrouter.bootstrap.packaged_book", lambda: installed[-1])
    return installed.append


@pytest.fixture
def openai(commands, packaged):
    commands.data("providers", "add", "openai")
    return commands


class TestSeeing:
    def test_which_book_is_in_force(self, openai):
        """The book that the first start adopted, with the event that did."""
        told = openai.data("prices", "list")
        assert (told["book"]["source"], told["book"]["version"], told["book"]["models"]) == (
            "a-source",
            "1",
            3,
        )
        assert told["adopted_by"] == ["catalogue", 1]
        assert "a-source 1" in openai.run("prices", "list").stdout

    def test_what_models_cost(self, openai):
        """At registered providers and in the book; what nobody prices is not free."""
        rows = openai.data("prices", "list", "small", "unheard-of")["model_prices"]
        assert [(row["provider"], row["registered"], row["source"]) for row in rows] == [
            ("openai", True, "book"),
            ("openai", False, "book"),
            ("elsewhere", False, "book"),
            ("openai", True, None),
        ]
        assert rows[0]["prices"] == {"input": USD, "output": 2 * USD}
        shown = openai.run("prices", "list", "small", "unheard-of").stdout
        assert "$1.0000" in shown
        assert "no price" in shown


class TestAnotherBook:
    def test_nothing_differs_at_first(self, openai):
        """The installed book is the one in force."""
        assert openai.data("prices", "diff")["same"]
        assert "same prices" in openai.run("prices", "diff").stdout

    def test_it_is_shown_and_adopted_by_an_act(self, openai, packaged):
        """An upgrade is shown as differences, changes nothing, and is adopted once, by its hash."""
        packaged(book("2", small=1, large=12, new=3))
        told = openai.data("prices", "diff")
        assert told["counts"] == {"added": 1, "changed": 1}
        assert [one["model"] for one in told["differences"] if one["in_use"]] == ["large", "new"]
        assert "$12.0000" in openai.run("prices", "diff").stdout
        assert openai.data("prices", "list")["book"]["version"] == "1"
        wrong = openai.run("prices", "adopt", "--sha256", "0" * 64)
        assert wrong.exit_code == 1
        assert "another hash" in wrong.stderr
        adopted = openai.data("prices", "adopt", "--sha256", told["installed"]["sha256"])
        assert adopted["book"]["version"] == "2"
        assert openai.data("prices", "list")["book"] == adopted["book"]
        assert openai.run("prices", "adopt").exit_code == 1

    def test_what_concerns_nobody_is_counted_only(self, openai, packaged):
        """Differences at providers that no requests go to are shown with --all."""
        packaged(book("2", other=1, small=1, large=10))
        assert "elsewhere" not in openai.run("prices", "diff").stdout
        assert "elsewhere" in openai.run("prices", "diff", "--all").stdout


class TestSetting:
    def test_a_price_of_ones_own(self, openai):
        """It outranks the book until it is withdrawn."""
        openai.data("prices", "set", "openai", "small", "--input", "0.5", "--output", "1", "--reasoning", "4")
        told = openai.data("prices", "list", "small")
        assert told["set"][0]["prices"] == {"input": USD // 2, "output": USD, "reasoning": 4 * USD}
        assert told["model_prices"][0]["source"] == "administrator"
        assert "administrator" in openai.run("prices", "list").stdout
        withdrawn = openai.data("prices", "set", "openai", "small", "--withdraw")
        assert withdrawn["model_prices"][0]["source"] == "book"

    @pytest.mark.parametrize("options", [(), ("--withdraw", "--input", "1")])
    def test_prices_or_withdrawal(self, openai, options):
        """Neither, and both, are mistakes in typing."""
        assert openai.run("prices", "set", "openai", "small", *options).exit_code == 2

    @pytest.mark.parametrize("options", [("--input", "cheap", "--output", "1"), ("--input", "1")])
    def test_an_impossible_price(self, openai, options):
        """What the API refuses is told in words."""
        refused = openai.run("prices", "set", "openai", "small", *options)
        assert refused.exit_code == 1
        assert "Traceback" not in refused.stderr

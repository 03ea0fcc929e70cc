"""A book: who is found in it, when which price holds, and that it comes out of its event as it went in."""

import base64
import zlib

import msgspec
import pytest
from book_givens import PLACE, USD, at_us, book, entry, period, prices
from hypothesis import given
from hypothesis import strategies as st

from apikeyrouter.domain.events import Prices
from apikeyrouter.domain.offered import MOST_REMEMBERED, Offers
from apikeyrouter.domain.price_book import (
    DAY_US,
    ModelPrice,
    Pattern,
    Period,
    PriceBook,
    Section,
    book_of,
    differences,
    price_for,
)

HOUR_US = DAY_US // 24
PLAIN = period(prices(2, 10))


def asked(found: PriceBook, model: str, place=PLACE, at: str = "2026-01-01") -> int | None:
    """Return the price of input, in dollars."""
    price = price_for(found, *place, model, at_us(at))
    return None if price is None else price.prices.input // USD


class TestWhoIsFound:
    def test_by_the_address_or_by_the_kind(self):
        """An adapter with an address is where that leads; one without is of its kind; nothing is guessed."""
        known = book(entry("m", PLAIN))
        assert asked(known, "m") == 2
        assert asked(known, "m", ("openai", None)) == 2
        assert asked(known, "m", ("openai", "http://127.0.0.1:8000/v1")) is None
        assert asked(known, "m", ("mine", None)) is None

    def test_by_any_of_its_names(self):
        """The first entry that goes by the name counts, in whichever case it is written."""
        named = ModelPrice(
            model="m",
            names=("m", "m-2026"),
            patterns=(
                Pattern("starts", "m-mini-"),
                Pattern("ends", "-m"),
                Pattern("contains", "/m/"),
                Pattern("regex", r"^(?=m-\d{4}$)"),
            ),
            periods=(PLAIN,),
        )
        known = book(named, entry("m-1234", period(prices(9, 9))))
        for name in ("m", "M-2026", "m-mini-x", "the-m", "a/m/b", "m-1234"):
            assert asked(known, name) == 2, name
        for name in ("m2", "m-12345", "n"):
            assert asked(known, name) is None, name

    def test_at_a_provider_that_serves_the_models_of_others(self):
        """What it does not list itself is looked up where it came from, and no further."""
        third = Section(provider="third", address="https://third", models=(entry("t", PLAIN),))
        other = Section(
            provider="other", address="https://other", also=("openai", "nobody"), models=(entry("o", PLAIN),)
        )
        known = book(entry("m", PLAIN), more=(other, third))
        place = ("x", "https://other/v1")
        assert asked(known, "o", place) == asked(known, "m", place) == 2
        assert asked(known, "t", place) is None

    def test_an_entry_without_a_price_is_no_price(self):
        """A model that the book names but does not price is not free, and no later entry is taken for it."""
        known = book(entry("m", Period()), entry("m", PLAIN))
        assert asked(known, "m") is None


class TestWhenAPriceHolds:
    def test_from_a_day_on(self):
        """Of the periods that hold the last counts."""
        known = book(entry("m", PLAIN, period(prices(1, 5), since="2026-06-01")))
        assert asked(known, "m", at="2026-05-31T23:59:59") == 2
        assert asked(known, "m", at="2026-06-01") == 1

    @pytest.mark.parametrize(
        ("begin", "end", "cheap"), [(1, 4, {1, 2, 3}), (22, 2, {22, 23, 0, 1}), (0, 24, set(range(24)))]
    )
    def test_at_times_of_day(self, begin, end, cheap):
        """A daily window begins with its first instant, ends before its last, and may pass midnight."""
        window = period(prices(1, 1), daily_us=(begin * HOUR_US, end * HOUR_US))
        known = book(entry("m", PLAIN, window))
        for hour in (0, 1, 2, 3, 4, 21, 22, 23):
            assert (asked(known, "m", at=f"2026-03-03T{hour:02}:00:00") == 1) == (hour in cheap)

    @given(
        st.lists(
            st.builds(
                Period,
                from_us=st.none() | st.integers(0, 10 * DAY_US),
                daily_us=st.none() | st.tuples(st.integers(0, DAY_US), st.integers(0, DAY_US)),
                prices=st.sampled_from([Prices(input=n, output=n) for n in range(3)]),
            ),
            min_size=1,
            max_size=3,
        ),
        st.integers(0, 12 * DAY_US),
        st.floats(0, 1),
    )
    def test_nothing_changes_before_it_is_said_to(self, periods, now_us, share):
        """Until the next change that is foretold, the same prices hold."""
        found = entry("m", *periods)
        change_us = min(found.changes_after(now_us), now_us + 2 * DAY_US)
        assert change_us > now_us
        between_us = now_us + int((change_us - 1 - now_us) * share)
        assert found.at(between_us) == found.at(now_us)


class TestTheEventThatAdoptsIt:
    def test_it_carries_the_whole_book(self):
        """What is taken out has the same content, and so the same hash and prices."""
        known = book(
            entry("m", PLAIN, period(prices(1, 2, cached_input=1), since="2026-06-01", above_9=prices(3, 4)))
        )
        event = known.adopted(at_us=1, actor="somebody")
        again = book_of(event)
        assert again.content == known.content
        assert again.sha256 == known.sha256 == event.sha256
        assert (again.source, again.source_version, again.models) == ("a-source", "1", event.models)

    def test_the_hash_is_that_of_the_prices_alone(self):
        """A new version of the package with the same prices is the same book."""
        assert book(entry("m", PLAIN)).sha256 == book(entry("m", PLAIN), version="2").sha256
        assert book(entry("m", PLAIN)).sha256 != book(entry("m", period(prices(2, 11)))).sha256

    def test_a_damaged_one_has_no_prices(self):
        """A content that is not the one that was hashed, or none at all, is not believed."""
        event = book(entry("m", PLAIN)).adopted(at_us=1, actor="somebody")
        other = book(entry("m", period(prices(0, 0)))).adopted(at_us=1, actor="somebody")
        whole = base64.b64decode(event.content)
        for content in (
            other.content,
            "no base64!",
            "",
            base64.b64encode(b"not deflated").decode(),
            base64.b64encode(whole[:-4]).decode(),
            base64.b64encode(zlib.compress(b"[1]")).decode(),
        ):
            assert book_of(msgspec.structs.replace(event, content=content)) is None

    def test_one_that_would_fill_the_memory_is_not_taken_out(self, monkeypatch):
        """A few bytes may deflate from gigabytes."""
        monkeypatch.setattr("apikeyrouter.domain.price_book.MOST_BOOK_BYTES", 64)
        event = book(entry("a-model-that-is-not-in-another-test", PLAIN)).adopted(at_us=1, actor="x")
        assert book_of(event) is None


class TestHowTwoBooksDiffer:
    def test_every_kind_of_difference(self):
        """What came, what went, what costs another price now, and what differs in another way."""
        later = period(prices(9, 9), since="2030-01-01")
        old = book(entry("gone", PLAIN), entry("same", PLAIN), entry("dearer", PLAIN), entry("later", PLAIN))
        new = book(
            entry("same", PLAIN),
            entry("dearer", period(prices(3, 10))),
            entry("later", PLAIN, later),
            entry("new", PLAIN),
        )
        found = {one.model: one for one in differences(old, new, at_us("2026-01-01"))}
        assert {model: one.change for model, one in found.items()} == {
            "dearer": "changed",
            "gone": "removed",
            "later": "otherwise",
            "new": "added",
        }
        assert (found["dearer"].before, found["dearer"].after) == (prices(2, 10), prices(3, 10))
        assert found["gone"].after is None
        assert found["new"].before is None

    def test_entries_of_one_name_are_told_apart(self):
        """Where a provider has two entries of one name, none is lost."""
        old = book(entry("m", PLAIN), entry("m", PLAIN))
        new = book(entry("m", PLAIN), entry("m", period(prices(3, 3))))
        assert [one.change for one in differences(old, new, 0)] == ["changed"]
        assert list(differences(old, old, 0)) == []
        assert len(list(differences(None, new, 0))) == 2


class TestWhatAProviderOffers:
    def test_the_names_that_clients_choose_do_not_pile_up(self):
        """However many models are asked for, a bounded number of answers is kept, and each is right."""
        offers = Offers({}, {}, book(entry("m", PLAIN)), PLACE)
        for number in range(MOST_REMEMBERED + 10):
            assert offers.get(f"made-up-{number}").price_at(0) is None
        assert len(offers._found) <= MOST_REMEMBERED
        assert offers.get("m").price_at(0).prices == prices(2, 10)

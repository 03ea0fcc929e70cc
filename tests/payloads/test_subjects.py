"""Whose data it is: named by the body, known by a pseudonym alone."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apikeyrouter.adapters.payloads.pseudonyms import HEX_DIGITS, Pseudonyms
from apikeyrouter.domain.payloads import subject_named_in

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS | st.just(""),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
NAMES = Pseudonyms(b"k" * 32)


def body(**fields):
    return json.dumps({"model": "m", "messages": [], **fields}).encode()


class TestWhoIsNamed:
    @given(TEXTS, TEXTS)
    def test_the_safety_identifier_counts_before_the_user(self, identifier, user):
        """It took the place of the older field."""
        assert subject_named_in(body(safety_identifier=identifier, user=user)) == identifier
        assert subject_named_in(body(user=user)) == user

    @given(ANYTHING, ANYTHING)
    def test_what_is_no_text_names_nobody(self, identifier, user):
        """The first of the two that is a text with something in it counts, and nothing is guessed."""
        texts = [one for one in (identifier, user) if isinstance(one, str) and one]
        found = subject_named_in(body(safety_identifier=identifier, user=user))
        assert found == (texts[0] if texts else None)

    @given(st.binary(max_size=200))
    def test_any_bytes_name_somebody_or_nobody(self, raw):
        """A body that was cut is no JSON; whoever it named, the client answers for it then."""
        named = subject_named_in(raw)
        assert named is None or isinstance(named, str)

    @pytest.mark.parametrize("raw", [b"", b"[]", b"null", b'{"user": "u"', b'{"user": "\\ud800"}'])
    def test_what_is_no_body_names_nobody(self, raw):
        """No error comes of it: the request has ended long ago."""
        assert subject_named_in(raw) is None


class TestPseudonyms:
    @given(TEXTS, TEXTS, TEXTS)
    def test_a_name_belongs_to_one_client(self, client, other, person):
        """The same person at two clients has two names, and always the same at the same."""
        name = NAMES.of(client, person)
        assert name == Pseudonyms(b"k" * 32).of(client, person)
        assert (name == NAMES.of(other, person)) == (client == other)

    @given(TEXTS, TEXTS)
    def test_a_client_is_no_person_of_the_same_name(self, client, person):
        """Nor is a person without a name."""
        assert len({NAMES.of(client, None), NAMES.of(client, person), NAMES.of(client, "")}) == 3

    @given(TEXTS, TEXTS)
    def test_where_one_name_ends_and_the_other_begins_counts(self, client, person):
        """Two names that read the same side by side are two."""
        assert NAMES.of(client + person[:1], person[1:]) != NAMES.of(client, person)

    @given(TEXTS, TEXTS)
    def test_only_the_same_master_key_makes_the_same_name(self, client, person):
        """Whoever has the log alone cannot try names out."""
        assert Pseudonyms(b"l" * 32).of(client, person) != NAMES.of(client, person)

    @given(TEXTS, TEXTS)
    def test_a_name_is_hex_digits(self, client, person):
        """It says nothing of the person."""
        name = NAMES.of(client, person)
        assert len(name) == HEX_DIGITS
        assert msgspec.json.decode(f'"{name}"') == format(int(name, 16), f"0{HEX_DIGITS}x")

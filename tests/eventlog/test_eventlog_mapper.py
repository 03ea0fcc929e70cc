"""Names and bytes of events: stable, canonical, and never a way to run code."""

import math
import sys
import types
import typing
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apikeyrouter.adapters.eventlog.mapper import EventMappingError, from_stored, to_stored
from apikeyrouter.domain.events import EVENT_TYPES, Event, NodeStopped, RouteDecided
from apikeyrouter.domain.former_events import FORMER_TYPES

SAMPLES = Path(__file__).parent / "samples"
PLAIN = {
    str: st.text(st.characters(exclude_categories=["Cs"])),
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    type(None): st.none(),
}


def values_of(hint):
    """Return a strategy for a type that occurs in events."""
    if hint in PLAIN:
        return PLAIN[hint]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {types.UnionType, typing.Union}:
        return st.one_of([values_of(argument) for argument in arguments])
    if origin is tuple:
        return st.lists(values_of(arguments[0]), max_size=2).map(tuple)
    if origin is list:
        return st.lists(values_of(arguments[0]), max_size=2)
    if origin is dict:
        return st.dictionaries(values_of(arguments[0]), values_of(arguments[1]), max_size=2)
    hints = typing.get_type_hints(hint)
    return st.builds(hint, **{name: values_of(hints[name]) for name in hint.__struct_fields__})


EVENTS = st.one_of([values_of(event_type) for event_type in EVENT_TYPES.values()])


class TestWhatIsStored:
    @given(EVENTS)
    def test_every_event_comes_back_as_it_was(self, event):
        """Decoding gives the event, and encoding it again the same bytes."""
        name, state = to_stored(event)
        again = from_stored("s", 1, name, state)
        assert again == event
        assert to_stored(again) == (name, state)

    def test_no_type_is_without_a_sample(self):
        """Whoever adds an event type adds a stored sample of it."""
        assert {sample.name.removesuffix(".json") for sample in SAMPLES.iterdir()} == {
            *EVENT_TYPES,
            *FORMER_TYPES,
        }

    @pytest.mark.parametrize("name", EVENT_TYPES)
    def test_what_was_stored_once_stays_readable(self, name):
        """A stored sample of every type decodes, with no field left out, and encodes to the same bytes."""
        state = (SAMPLES / f"{name}.json").read_bytes()
        event = from_stored("s", 1, name, state)
        assert type(event) is EVENT_TYPES[name]
        assert set(msgspec.json.decode(state)) == set(event.__struct_fields__)
        assert to_stored(event) == (name, state)

    @pytest.mark.parametrize("name", FORMER_TYPES)
    def test_what_was_stored_in_a_former_shape_is_read_as_todays(self, name):
        """Every field of a former shape is found in today's event, which is stored under its own name."""
        state = (SAMPLES / f"{name}.json").read_bytes()
        event = from_stored("s", 1, name, state)
        assert type(event) in EVENT_TYPES.values()
        today = msgspec.json.decode(to_stored(event)[1])
        stored = msgspec.json.decode(state)
        assert {field: today[field] for field in stored} == stored
        assert to_stored(event)[0] not in FORMER_TYPES


class TestWhatCannotBeStored:
    def test_a_number_that_json_has_not_is_refused_before_it_makes_the_log_unreadable(self):
        """NaN and infinity would be written as null, which no reader takes for a number."""
        decided = from_stored(
            "s", 1, "request.decided.v2", (SAMPLES / "request.decided.v2.json").read_bytes()
        )
        assert isinstance(decided, RouteDecided)
        for value in (math.nan, math.inf):
            chosen = msgspec.structs.replace(decided.chosen, total=value)
            with pytest.raises(EventMappingError):
                to_stored(msgspec.structs.replace(decided, chosen=chosen))

    def test_text_that_utf8_has_not_is_refused(self):
        """A lone surrogate has no bytes."""
        with pytest.raises(EventMappingError):
            to_stored(NodeStopped(at_us=1, node_id="\ud800"))

    def test_a_type_outside_the_table_is_refused(self):
        """Only what the table names can be read back."""

        class Unlisted(Event, frozen=True, kw_only=True):
            pass

        with pytest.raises(EventMappingError, match="Unlisted"):
            to_stored(Unlisted(at_us=1))


class TestWhatCannotBeRead:
    @pytest.mark.parametrize(
        "name",
        [
            "os:system",
            "antigravity:fly",
            "this",
            "key.registered.v2",
            "",
            "x" * 10_000,
            None,
            b"key.revoked.v1",
        ],
    )
    def test_an_unknown_name_imports_nothing(self, name):
        """A name is looked up, never resolved; the error tells the place."""
        before = set(sys.modules)
        with pytest.raises(
            EventMappingError, match=r"unknown event type .* version 7 of stream 'key-a'"
        ) as told:
            from_stored("key-a", 7, name, b"{}")
        assert set(sys.modules) == before
        assert len(str(told.value)) < 300

    @pytest.mark.parametrize(
        "state",
        [
            b"",
            b"null",
            b"{",
            b"\xff",
            b'{"at_us":1}',
            b'{"at_us":"1","node_id":"n"}',
            b'{"at_us":1,"node_id":"n","more":1}',
            b'{"at_us":1,"node_id":"\\ud800"}',
            b"[" * 100_000,
            None,
            7,
        ],
    )
    def test_bytes_that_are_no_such_event_name_their_place_and_not_their_contents(self, state):
        """Whatever stands in the file, reading it ends in one kind of error."""
        with pytest.raises(
            EventMappingError, match=r"undecodable node.stopped.v1 at version 3 of stream 'log'"
        ):
            from_stored("log", 3, "node.stopped.v1", state)

    @given(st.binary(max_size=200), st.sampled_from(sorted(EVENT_TYPES)))
    def test_any_bytes_are_an_event_or_an_error(self, state, name):
        """No bytes get past the mapper as anything else."""
        try:
            event = from_stored("s", 1, name, state)
        except EventMappingError:
            return
        assert type(event) is EVENT_TYPES[name]

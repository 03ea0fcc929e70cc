"""The splitter of server-sent events: any cut of the bytes gives the same events, any bytes are bounded."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apikeyrouter.adapters.providers.sse import EventSplitter, EventTooLongError, data_of, events_of

LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
LINES = st.sampled_from(
    [b"data: {}", b"data:x", b"data", b": comment", b"event: error", b"id: 7", "data: ž".encode()]
)
TRICKY = st.lists(st.sampled_from([b"\r", b"\n", b"d", b"data: x"]), max_size=40).map(b"".join)


@st.composite
def streams(draw):
    """Draw the events of a well-formed stream."""
    events = []
    for lines in draw(st.lists(st.lists(LINES, min_size=1, max_size=3), max_size=6)):
        line_end = draw(LINE_ENDS)
        events.append(b"".join(line + line_end for line in lines) + line_end)
    return events


def cut(data, places):
    """Cut bytes at the given places."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def split(pieces, **bounds):
    """Push pieces and return all batches, with what the end of the stream brings."""
    splitter = EventSplitter(**bounds)
    batches = [splitter.push(piece) for piece in pieces]
    return [*batches, splitter.finish()]


@given(streams(), st.lists(st.integers(0, 10_000), max_size=20))
def test_any_cut_gives_the_same_events(events, places):
    """However a stream is cut into packets, the same events come out, byte for byte."""
    batches = split(cut(b"".join(events), places))
    assert [event for batch in batches for event in events_of(batch)] == events


@given(TRICKY, st.lists(st.integers(0, 200), max_size=12))
def test_any_line_ends_cut_anywhere_give_the_same_events(data, places):
    """Runs of CR and LF in any order are split alike, whatever the packets."""
    uncut = [event for batch in split([data]) for event in events_of(batch)]
    assert [event for batch in split(cut(data, places)) for event in events_of(batch)] == uncut


@given(st.lists(st.binary(max_size=200), max_size=30))
def test_any_bytes_are_bounded_and_never_crash(pieces):
    """Garbage neither raises anything but the one error, nor is kept beyond one event's bound."""
    splitter = EventSplitter(max_event_bytes=100)
    passed = b""
    try:
        for piece in pieces:
            passed += splitter.push(piece)
            assert len(splitter._pending) <= 100 + len(piece)
        passed += splitter.finish()
    except EventTooLongError:
        pass
    assert b"".join(pieces).startswith(passed)
    for event in events_of(passed):
        assert len(event) <= 100
        data_of(event)


@given(streams(), st.integers(1, 40), st.lists(st.integers(0, 10_000), max_size=20))
def test_an_event_too_long_is_told_after_those_before_it(events, bound, places):
    """What fits is delivered, the first event over the bound ends the stream, whatever the packets."""

    def outcome(pieces):
        splitter, passed = EventSplitter(max_event_bytes=bound), b""
        try:
            for piece in pieces:
                passed += splitter.push(piece)
            splitter.push(b"")
        except EventTooLongError:
            return passed, "too long"
        return passed, "whole"

    data = b"".join(events)
    assert outcome(cut(data, places)) == outcome([data])


class TestWhatIsAnEvent:
    def test_whole_events_pass_untouched(self):
        """A packet of whole events is handed on as the very object that came."""
        packet = b"data: 1\n\ndata: 2\n\n"
        assert EventSplitter().push(packet) is packet

    def test_the_part_of_an_event_waits(self):
        """What has not ended is held, and a stream that ends there has no more events."""
        splitter = EventSplitter()
        assert splitter.push(b"data: 1\n\ndata: 2\n") == b"data: 1\n\n"
        assert splitter.waiting
        assert splitter.finish() == b""

    def test_a_last_event_ended_by_cr_is_not_lost(self):
        """At the very end a CR can no longer become CRLF."""
        splitter = EventSplitter()
        assert splitter.push(b"data: 1\r\r") == b""
        assert splitter.finish() == b"data: 1\r\r"

    @pytest.mark.parametrize("rest", [b"\n", b"\r\n\r\n\n", b"\n\n\n"])
    def test_an_odd_line_end_opens_the_next_event(self, rest):
        """In a run of line ends every second one ends an event, also where the packet ends with it."""
        whole, cut = EventSplitter(), EventSplitter()
        passed = whole.push(b"data: 1\n\n" + rest), b"".join(map(cut.push, (b"data: 1\n\n", rest)))
        assert passed[0] == passed[1]
        assert whole.waiting
        assert cut.waiting

    @pytest.mark.parametrize(
        ("event", "data"),
        [
            (b"data: x\n\n", b"x"),
            (b"data:x\r\n\r\n", b"x"),
            (b"data:  x\n\n", b" x"),
            (b"event: e\rdata: 1\rdata: 2\r\r", b"1\n2"),
            (b"data\n\n", b""),
            (b": only a comment\n\n", None),
            (b"database: x\n\n", None),
            (b"\n", None),
        ],
    )
    def test_data_is_what_the_standard_says(self, event, data):
        """One space after the colon is dropped, lines are joined, other fields are no data."""
        assert data_of(event) == data

    def test_a_megabyte_in_single_bytes_is_cheap_to_hold(self):
        """Only the newest bytes are searched, so a trickled event does not cost its length squared."""
        splitter = EventSplitter()
        for _ in range(200_000):
            assert splitter.push(b"x") == b""
        assert len(splitter.push(b"\n\n")) == 200_002

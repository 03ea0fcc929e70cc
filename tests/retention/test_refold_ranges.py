"""Which events a state comes from, by the positions at which nodes began anew."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apikeyrouter.application.replay import verify_past
from apikeyrouter.application.retention.gaps import ArchivedError
from apikeyrouter.domain.events import (
    RETENTION_STREAM,
    EventRef,
    Recorded,
    SegmentDropped,
    SegmentRemoved,
    StateRefolded,
)
from apikeyrouter.domain.positions import Positions
from apikeyrouter.domain.retention import Retention
from apikeyrouter.domain.state import RouterState

RANGES = st.tuples(st.integers(1, 120), st.integers(1, 120)).map(sorted)


def retention_with(*told) -> Retention:
    retention = Retention()
    for version, event in enumerate(told, 1):
        retention.take(event, EventRef(RETENTION_STREAM, version))
    return retention


def dropped(name: str, first: int, last: int) -> tuple[SegmentDropped, SegmentRemoved]:
    count = last - first + 1
    told = SegmentDropped(
        at_us=1,
        actor="t",
        segment=name,
        sha256="0",
        first=first,
        last=last,
        events=count,
        requests=1,
        runs=(count,),
        size=last,
        root="",
        from_us=0,
        to_us=1,
    )
    return told, SegmentRemoved(at_us=1, segment=name)


def refolded(behind: int) -> StateRefolded:
    return StateRefolded(at_us=1, node_id="n", behind=behind, events=1)


TWICE = (*dropped("a", 5, 20), refolded(50), *dropped("b", 22, 70), refolded(90), *dropped("c", 72, 80))


@given(RANGES)
def test_stretches_make_up_their_range(bounds):
    """None reaches across a beginning, and none of the range is left out."""
    first, last = bounds
    parts = retention_with(*TWICE).stretches(first, last)
    assert Positions(parts).runs() == [(first, last)]
    assert sum(end - begin + 1 for begin, end in parts) == last - first + 1
    for behind in (50, 90):
        assert not [part for part in parts if part[0] <= behind < part[1]]


def test_a_state_comes_from_the_last_beginning_before_it():
    """Behind the event at which a node began anew, the older state was still what counted."""
    retention = retention_with(*TWICE)
    names = {
        position: [one.name for one in retention.left_out_of(retention.refold_before(position))]
        for position in (1, 50, 51, 90, 91, None)
    }
    assert names == {1: [], 50: [], 51: ["a"], 90: ["a"], 91: ["a", "b"], None: ["a", "b"]}


def test_whether_the_log_has_all_that_a_state_comes_from():
    """What a beginning did without need not be there; what left later must."""
    retention = retention_with(*TWICE)
    assert retention.is_whole(0, 4)
    assert not retention.is_whole(0, 10)
    assert retention.is_whole(0, 21) is False
    assert retention.is_whole(20, 21)
    assert not retention.is_whole(0, 60)  # segment b counts there, and has left
    assert retention.is_whole(0, 91) is False  # and so does segment c
    assert retention.is_whole(80, 100) is False  # a state from before a beginning is not gone on from
    assert retention.is_whole(91, 100)
    assert retention_with(*TWICE[:6]).is_whole(0, 100)


class Fragments:
    """A log whose first events are away, with a node that began anew behind 50; a snapshot stands at 40."""

    def read(self, after=0, until=None, *, as_of=None):
        if not after:
            raise ArchivedError("away")
        return iter(())

    def stream(self, stream):
        return [Recorded(51, stream, 1, refolded(50))]

    def stretches(self, first, last):
        return [(first, last)]

    def nearest(self, until=None, *, at_us=None):
        if until is not None and until < 40:
            return None
        state = RouterState()
        state.position = 40
        return 40, state


def test_a_snapshot_from_before_a_beginning_does_not_stand_in_for_what_is_away():
    fragments = Fragments()
    assert verify_past(fragments, first=45, last=50, snapshots=fragments).base == 40
    with pytest.raises(ArchivedError, match=r"^away$"):
        verify_past(fragments, first=60, last=70, snapshots=fragments)


def test_where_a_snapshot_stands_later_it_is_said_from_where_on_to_ask():
    fragments = Fragments()
    with pytest.raises(ArchivedError, match=r"^away\. .*: --from 41$"):
        verify_past(fragments, first=1, last=50, snapshots=fragments)
    for first, last in ((1, 39), (1, 40), (1, 60)):  # behind the range, at its end, before a beginning
        with pytest.raises(ArchivedError, match=r"^away$"):
            verify_past(fragments, first=first, last=last, snapshots=fragments)


def test_rows_that_are_still_to_be_deleted_are_not_what_a_beginning_was_folded_from():
    told, _ = dropped("a", 5, 20)
    assert not retention_with(told, refolded(50)).is_whole(0, 60)

"""How appends share transactions: in order, bounded, and never split."""

from hypothesis import given
from hypothesis import strategies as st
from log_givens import run_of

from apikeyrouter.adapters.eventlog.backlog import Backlog
from apikeyrouter.limits import MOST_BATCH_BYTES, MOST_BATCH_EVENTS, MOST_QUEUED_BYTES, MOST_QUEUED_EVENTS

APPENDS = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 3_000)), max_size=30)


def filled(appends):
    """Put appends of (count, bytes an event) into a backlog, each waited for by its number."""
    backlog, head = Backlog(), 0
    for number, (count, size) in enumerate(appends):
        head = backlog.add(head, run_of(f"s{number}", count), [("name", b"x" * size)] * count, number)
    return backlog, head


def taken(backlog):
    """Take all batches out."""
    batches = []
    while (batch := backlog.take()) is not None:
        batches.append(batch)
    return batches


@given(APPENDS)
def test_batches_are_the_appends_in_order(appends):
    """Nothing is lost, repeated or moved, and positions count on from batch to batch."""
    backlog, head = filled(appends)
    batches = taken(backlog)
    rows = [batch.values[at : at + 5] for batch in batches for at in range(0, len(batch.values), 5)]
    expected = [(f"s{number}", v) for number, (count, _) in enumerate(appends) for v in range(1, count + 1)]
    assert [(stream, version) for _, stream, version, _, _ in rows] == expected
    assert [row[0] for row in rows] == list(range(1, head + 1))
    assert [r.position for batch in batches for r in batch.recorded()] == list(range(1, head + 1))
    assert [waiter for batch in batches for waiter in batch.waiters] == list(range(len(appends)))


@given(APPENDS)
def test_a_batch_is_bounded_unless_one_append_alone_is_larger(appends):
    """A transaction stays small, and an append stays in one."""
    backlog, _ = filled(appends)
    for batch in taken(backlog):
        sizes = [appends[number] for number in batch.waiters]
        assert len(batch.events) == sum(count for count, _ in sizes)
        if sum(1 for count, _ in sizes if count) > 1:
            assert len(batch.events) <= MOST_BATCH_EVENTS
            assert sum(count * size for count, size in sizes) <= MOST_BATCH_BYTES


@given(APPENDS)
def test_an_emptied_backlog_has_room_again(appends):
    """What was taken out no longer counts."""
    backlog, _ = filled(appends)
    taken(backlog)
    assert not backlog.full
    assert vars(backlog) == {**vars(Backlog()), "_batches": backlog._batches}


def test_it_is_full_by_events_or_by_bytes():
    """Either bound alone closes it."""
    by_events, _ = filled([(200, 0)] * (MOST_QUEUED_EVENTS // 200))
    by_bytes, _ = filled([(1, 2**20)] * (MOST_QUEUED_BYTES // 2**20))
    nearly, _ = filled([(199, 0)] * (MOST_QUEUED_EVENTS // 200))
    assert by_events.full
    assert by_bytes.full
    assert not nearly.full


@given(APPENDS, st.data())
def test_what_belongs_together_is_in_one_batch(appends, data):
    """However full that is; what comes after begins as bounded a batch as ever."""
    first = data.draw(st.integers(0, len(appends)))
    last = data.draw(st.integers(first, len(appends)))
    backlog, head = filled(appends[:first])
    with backlog.together():
        for number, (count, size) in enumerate(appends[first:last], first):
            head = backlog.add(head, run_of(f"s{number}", count), [("name", b"x" * size)] * count, number)
    backlog.add(head, run_of("after", 1), [("name", b"x" * (MOST_BATCH_BYTES + 1))], "after")
    batches = taken(backlog)
    group = set(range(first, last))
    assert sum(1 for batch in batches if group & set(batch.waiters)) <= 1
    assert [waiter for batch in batches for waiter in batch.waiters] == [*range(last), "after"]
    assert [r.position for batch in batches for r in batch.recorded()] == list(range(1, head + 2))
    assert [event.stream for event in batches[-1].events] == ["after"]


def test_what_belongs_together_is_let_in_together():
    """The queue may fill up in between: half of it must not be refused."""
    backlog, head = filled([(200, 0)] * (MOST_QUEUED_EVENTS // 200 - 1))
    with backlog.together():
        backlog.add(head, run_of("first", 200), [("name", b"")] * 200, None)
        assert not backlog.full
    assert backlog.full

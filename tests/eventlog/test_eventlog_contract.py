"""What every event log promises to the use cases."""

import asyncio
import gc

import pytest
from log_givens import new, positions, run_of

from apikeyrouter.adapters.eventlog.mapper import EventMappingError
from apikeyrouter.domain.events import NewEvent, NodeStopped, Recorded
from apikeyrouter.errors import LogUnavailableError


class TestAppending:
    async def test_events_are_stored_in_the_order_of_the_calls(self, log):
        """Positions follow the calls without a gap, whatever streams they belong to."""
        handed_in = [new(f"s{number % 7}", number // 7 + 1) for number in range(500)]
        pending = [log.append([event]) for event in handed_in]
        assert log.head == 500
        await asyncio.gather(*pending)
        assert list(log.read()) == [Recorded(position, *event) for position, event in enumerate(handed_in, 1)]

    async def test_what_is_acknowledged_can_be_read(self, log):
        """When the future has resolved, the event is there."""
        await log.append([new("s", 1)])
        assert log.stream("s") == [Recorded(1, *new("s", 1))]

    async def test_events_of_one_append_stand_together(self, log):
        """An append of several events gets neighbouring positions."""
        await asyncio.gather(*(log.append(run_of(f"s{number}", 3)) for number in range(50)))
        streams = [recorded.stream for recorded in log.read()]
        assert all(len(set(streams[first : first + 3])) == 1 for first in range(0, 150, 3))

    async def test_an_append_of_any_size_is_taken(self, log):
        """What recovery owes after a long outage goes into one append."""
        await log.append(run_of("s", 1_501, size=200))
        assert positions(log) == list(range(1, 1_502))

    async def test_nothing_to_append_is_done_at_once(self, log):
        """An append without events holds nobody up and takes no position."""
        await log.append([])
        assert log.head == 0
        await log.append([new("s", 1)])
        assert positions(log) == [1]

    async def test_an_event_that_cannot_be_stored_changes_nothing(self, log):
        """The append is refused as a whole before any position is given out."""
        with pytest.raises(EventMappingError):
            log.append([new("s", 1), NewEvent("s", 2, NodeStopped(at_us=1, node_id="\ud800"))])
        await log.append([new("s", 1)])
        assert positions(log) == [1]
        assert log.available

    async def test_a_waiter_that_leaves_does_not_take_the_event_back(self, log):
        """Cancelling the future is nobody else's business."""
        leaving = log.append([new("s", 1)])
        leaving.cancel()
        await log.append([new("s", 2)])
        assert positions(log) == [1, 2]


class TestReading:
    async def test_a_range_of_positions_is_read(self, log):
        """`after` is left out, `until` is included."""
        await log.append(run_of("s", 1_200))
        assert [recorded.position for recorded in log.read(after=3, until=5)] == [4, 5]
        assert [recorded.position for recorded in log.read(after=1_199)] == [1_200]
        assert list(log.read(after=1_200)) == []
        assert list(log.read(after=5, until=5)) == []

    async def test_a_stream_is_read_from_its_first_event(self, log):
        """Other streams are left out; an unknown stream is empty."""
        await log.append([new("a", 1), new("b", 1), new("a", 2)])
        assert [(r.position, r.version) for r in log.stream("a")] == [(1, 1), (3, 2)]
        assert log.stream("c") == []


class TestFollowing:
    async def test_followers_see_every_event_once_and_in_order(self, log):
        """What followers are told is what reading gives."""
        told = []
        log.follow(told.extend)
        await asyncio.gather(*(log.append(run_of(f"s{number}", 2)) for number in range(300)))
        assert told == list(log.read())

    async def test_followers_are_told_before_the_waiter_goes_on(self, log):
        """Whoever awaited an append finds it in what followers have made of it."""
        told = []
        log.follow(told.extend)
        await log.append([new("s", 1)])
        assert [recorded.version for recorded in told] == [1]

    async def test_a_follower_that_fails_harms_nobody(self, log):
        """The failure is reported, the other followers and the waiter go on."""
        reported, told = [], []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

        def fail(_batch):
            raise ZeroDivisionError

        log.follow(fail)
        log.follow(told.extend)
        await log.append([new("s", 1)])
        assert len(told) == 1
        assert isinstance(reported[0]["exception"], ZeroDivisionError)


class TestATakenPlace:
    async def test_the_append_fails_as_a_whole(self, log):
        """A version that exists, last of three, keeps the other two out as well."""
        await log.append([new("s", 1)])
        with pytest.raises(LogUnavailableError, match="place of an event is taken"):
            await log.append([new("t", 1), new("t", 2), new("s", 1)])
        assert positions(log) == [1]

    async def test_nothing_is_stored_until_the_log_is_reopened(self, log):
        """After a failure every append is refused at once; `reopen` starts from what is stored."""
        await log.append([new("s", 1)])
        pending = [log.append([new("s", 1)])]
        while log.available:
            pending.append(log.append([new("t", len(pending))]))
            await asyncio.sleep(0)
        with pytest.raises(LogUnavailableError) as refused:
            log.append([new("u", 1)])
        assert refused.value.retryable
        assert refused.value.retry_after
        failures = await asyncio.gather(*pending, return_exceptions=True)
        assert {type(failure) for failure in failures} == {LogUnavailableError}
        await log.reopen()
        assert log.available
        assert log.head == 1
        await log.append([new("s", 2)])
        assert positions(log) == [1, 2]

    async def test_a_failure_that_nobody_awaits_is_not_complained_about(self, log):
        """An append may be let go; the loop has nothing to say about it."""
        complaints = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        await log.append([new("s", 1)])
        log.append([new("s", 1)])
        await log.reopen()
        gc.collect()
        assert not complaints
        assert log.available

    async def test_a_waiter_that_left_keeps_the_others_from_nothing(self, log):
        """One cancelled future among those that fail does not stop the rest from being told."""
        await log.append([new("s", 1)])
        failing = [log.append([new("s", 1)])]
        while log.available and len(failing) < 3:
            failing.append(log.append([new("t", len(failing))]))
        failing[0].cancel()
        async with asyncio.timeout(5):
            ends = await asyncio.gather(*failing[1:], return_exceptions=True)
        assert all(isinstance(end, LogUnavailableError) for end in ends)


class TestReopening:
    async def test_a_log_in_order_is_left_as_it_is(self, log):
        """`reopen` waits for what is pending, and that is all."""
        pending = [log.append([new("s", version)]) for version in range(1, 400)]
        await log.reopen()
        assert all(future.done() for future in pending)
        assert log.head == 399
        assert log.available

    async def test_several_at_once_are_one(self, log):
        """Who comes second does not take back what was appended since the first."""
        await log.append([new("s", 1)])
        with pytest.raises(LogUnavailableError):
            await log.append([new("s", 1)])

        async def reopen_and_append(stream):
            await log.reopen()
            await log.append([new(stream, 1)])

        await asyncio.gather(*(reopen_and_append(f"t{number}") for number in range(5)))
        assert positions(log) == [1, 2, 3, 4, 5, 6]


class TestClosing:
    async def test_nothing_is_taken_any_more(self, log):
        """Appending to a closed log and reopening it are refused; closing it again is not."""
        await log.close()
        await log.close()
        assert not log.available
        with pytest.raises(LogUnavailableError, match="closed"):
            log.append([new("s", 1)])
        with pytest.raises(LogUnavailableError, match="closed"):
            await log.reopen()

    async def test_what_is_pending_is_written_first(self, log):
        """Every append that was taken before `close` is acknowledged."""
        pending = [log.append([new("s", version)]) for version in range(1, 1_000)]
        await log.close()
        assert all(future.done() for future in pending)
        assert [future.exception() for future in pending] == [None] * 999
        assert positions(log) == list(range(1, 1_000))

"""A hold keeps what it covers, from when it is placed until it is released, against whoever would drop it."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from retained_logs import ACTOR, DAY_US, EPOCH_US, Step, drop, living, streams_in, verdict_of

from apikeyrouter.adapters.retention.shelf import SegmentShelf
from apikeyrouter.domain.holds import HoldAsked, Holds, HoldScope, place, release
from apikeyrouter.domain.models.system_error import ConflictError, InvalidRequestError, NotFoundError
from apikeyrouter.domain.vocabulary.shape import EventRef

NAMES = st.sampled_from(("a" * 32, "b" * 32))
TIMES = st.none() | st.integers(0, 20)
REF = EventRef("retention", 1)


def asked(scope, **fields):
    return HoldAsked(scope=scope, reason="case 17", **fields)


def held(*asked_for):
    holds = Holds()
    for number, one in enumerate(asked_for):
        holds.place(place(holds, one, hold_id=str(number), at_us=1, actor="t"), REF)
    return holds


class TestWhatAHoldCovers:
    @given(st.sampled_from(HoldScope), NAMES, TIMES, TIMES, st.none() | NAMES, st.none() | st.integers(0, 20))
    def test_by_its_words(self, scope, name, since_us, until_us, client, at_us):
        """Who is named, within the period that narrows it; an unknown time may be any."""
        named = scope in {HoldScope.Client, HoldScope.Subject, HoldScope.Request}
        try:
            holds = held(asked(scope, scope_id=name if named else None, since_us=since_us, until_us=until_us))
        except InvalidRequestError:
            empty = since_us is not None and until_us is not None and since_us >= until_us
            assert empty or (scope == "period" and since_us is None and until_us is None)
            return
        fields = {"client": "client_id", "subject": "subject", "request": "request_id"}
        known = {fields.get(scope, "client_id"): client}
        within = at_us is None or (since_us or 0) <= at_us < (100 if until_us is None else until_us)
        covered = holds.covering(**known, at_us=at_us) is not None
        assert covered == (within and (not named or client == name))

    def test_a_name_of_another_kind_is_not_covered(self):
        """A client is no subject, whatever both are called."""
        holds = held(asked("client", scope_id="acme"))
        assert holds.covering(subject="acme", request_id="acme") is None
        assert holds.covering(client_id="acme").hold_id == "0"

    def test_several_holds_end_one_by_one(self):
        holds = held(asked("client", scope_id="acme"), asked("everything"))
        holds.release(release(holds, "1", at_us=2, actor="t", reason="over"))
        assert holds.covering(client_id="zenith") is None
        assert holds.covering(client_id="acme") is not None
        holds.release(release(holds, "0", at_us=2, actor="t", reason="over"))
        assert holds.covering(client_id="acme") is None

    @pytest.mark.parametrize(
        "wrong",
        [
            {"scope": "planet"},
            {"scope": "client"},
            {"scope": "client", "scope_id": " "},
            {"scope": "client", "scope_id": "a\nb"},
            {"scope": "subject", "scope_id": "a-person-by-name"},
            {"scope": "everything", "scope_id": "acme"},
            {"scope": "period"},
            {"scope": "period", "since_us": 5, "until_us": 5},
            {"scope": "everything", "reason": ""},
            {"scope": "everything", "reason": "x" * 501},
        ],
    )
    def test_what_says_nothing_is_refused(self, wrong):
        with pytest.raises(InvalidRequestError):
            held(HoldAsked(**{"reason": "case 17", **wrong}))

    def test_no_hold_is_released_twice(self):
        with pytest.raises(NotFoundError):
            release(Holds(), "none", at_us=1, actor="t", reason="over")


class TestARun:
    async def test_held_requests_stay_until_the_hold_is_released(self, whole, calendar):
        """A client's requests stay, the others go; after the release the rest goes too."""
        async with living(whole) as node:
            await node.retaining.set(30 * DAY_US, actor=ACTOR)
            placed = await node.retaining.place(asked("client", scope_id="zenith"), actor=ACTOR)
            run = await drop(node)
            assert (run.requests, run.kept) == (16, {"legal_hold": 8})
            assert (await drop(node)).reason == "nothing is old enough"
            await node.retaining.release(placed.hold.hold_id, actor=ACTOR, reason="over")
            assert (await drop(node)).requests == 8
        assert verdict_of(whole).intact
        assert verdict_of(whole).dropped == 48

    async def test_a_period_and_a_request(self, whole, calendar):
        ids = (whole.parent / "ids").read_text().split()
        begin_us = EPOCH_US - 70 * DAY_US
        async with living(whole) as node:
            await node.retaining.set(30 * DAY_US, actor=ACTOR)
            await node.retaining.place(asked("request", scope_id=f"request-{ids[20]}"), actor=ACTOR)
            until_us = begin_us + 3_600_000_000 * 5
            await node.retaining.place(asked("period", since_us=begin_us, until_us=until_us), actor=ACTOR)
            run = await drop(node)
        assert run.kept == {"legal_hold": 6}
        assert {f"request-{one}" for one in (*ids[:5], ids[20])} <= streams_in(whole)

    async def test_a_hold_that_comes_meanwhile_stops_the_run(self, whole, calendar, monkeypatch):
        """Between the choice and the event a hold may be placed: then nothing is recorded or dropped."""
        lay, laying, go_on = SegmentShelf.lay, asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def slow(shelf, positions, folder=None):
            laid = lay(shelf, positions, folder)
            loop.call_soon_threadsafe(laying.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(30)
            return laid

        monkeypatch.setattr(SegmentShelf, "lay", slow)
        async with living(whole) as node:
            await node.retaining.set(30 * DAY_US, actor=ACTOR)
            run = node.retaining.dropping.begin(actor=ACTOR)
            await laying.wait()
            with pytest.raises(ConflictError, match="under way"):
                node.retaining.dropping.begin(actor=ACTOR)
            await node.retaining.place(asked("everything"), actor=ACTOR)
            go_on.set()
            await node.retaining.dropping.wait()
            assert (run.step, run.events) == (Step.Failed, 0)
            assert "hold" in run.reason
            assert not node.state.retention.segments
        assert not list(whole.with_name("log.db.segments").iterdir())
        assert verdict_of(whole).dropped == 0

    async def test_a_segment_that_is_not_what_was_sealed_stops_the_run(self, whole, calendar, monkeypatch):
        """Read back and compared before anything is recorded: a bad disk costs no row."""
        from apikeyrouter.adapters.retention import shelf

        write = shelf.write_segment

        def torn(*given):
            path = write(*given)
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
            return path

        monkeypatch.setattr(shelf, "write_segment", torn)
        async with living(whole) as node:
            await node.retaining.set(30 * DAY_US, actor=ACTOR)
            run = await drop(node)
            assert run.step == Step.Failed
            assert not node.state.retention.segments
        assert not list(whole.with_name("log.db.segments").iterdir())
        assert verdict_of(whole).dropped == 0

    async def test_a_log_in_memory_has_nothing_to_drop(self):
        from apikeyrouter.bootstrap import open_node
        from apikeyrouter.domain.models.system_error import ConfigurationError
        from apikeyrouter.settings import RouterSettings

        node = await open_node(RouterSettings())
        try:
            with pytest.raises(ConfigurationError, match="memory"):
                node.retaining.dropping.begin(actor=ACTOR)
        finally:
            await node.close()

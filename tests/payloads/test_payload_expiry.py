"""Bodies go when their time is over, unless a hold covers them; the log says how many, and of when."""

import pytest
from loopback import eventually
from payload_world import ACTOR, CLIENT, a_world, change, hold, release

from apikeyrouter.application.payloads.expiring import Expiring
from apikeyrouter.application.payloads.terms import parse_keep
from apikeyrouter.domain.events import PayloadsExpired
from apikeyrouter.domain.models.system_error import InvalidRequestError, NotFoundError
from apikeyrouter.domain.windows import DAY_US, HOUR_US, MINUTE_US

MONTH_US = 30 * DAY_US


async def age_all(world, days):
    """Make what is kept older than it is: rows alone count."""
    await world.stored()
    change(world.log, f"UPDATE payloads SET taken_at_us = taken_at_us - {days} * {DAY_US}")


class TestTheSpan:
    @pytest.mark.parametrize(
        ("text", "us"),
        [("90m", 90 * MINUTE_US), ("24h", 24 * HOUR_US), ("30d", MONTH_US), ("4w", 28 * DAY_US)],
    )
    def test_what_it_says(self, text, us):
        """A number and its unit."""
        assert parse_keep(text) == us

    @pytest.mark.parametrize(
        "text", ["", "30", "d", "0d", "-1d", "1.5d", "30D", "30 d", "999999d", "1y", "٣d"]
    )
    def test_what_says_nothing_is_refused(self, text):
        """Nothing is guessed."""
        with pytest.raises(InvalidRequestError, match="30d"):
            parse_keep(text)

    async def test_no_time_at_all_is_refused(self, world):
        """That would be a capture that keeps nothing."""
        for span in (0, -1):
            with pytest.raises(InvalidRequestError):
                await world.desk.terms.switch_on(CLIENT, actor=ACTOR, keep_us=span)


class TestExpiry:
    async def test_what_is_too_old_goes_and_the_rest_stays(self, world):
        """One event for all of a client; a check misses none of them."""
        await world.desk.terms.switch_on(CLIENT, actor=ACTOR, keep_us=MONTH_US)
        await world.ask()
        await age_all(world, 31)
        await world.ask()
        old, young = await world.stored()
        assert await world.desk.expiring.expire() == {CLIENT: 1}
        assert await world.stored() == [young]
        [told] = await world.events(PayloadsExpired)
        assert told.event.payloads == 1
        assert told.event.before_us > old.taken_at_us
        assert told.stream == f"client-{CLIENT}"
        with pytest.raises(NotFoundError, match="expired"):
            await world.desk.reading.show(old.request_id, actor=ACTOR)
        assert await world.desk.expiring.expire() == {}
        assert len(await world.events(PayloadsExpired)) == 1

    async def test_without_a_span_nothing_goes(self, world):
        """It is kept until it is erased."""
        await world.ask()
        await age_all(world, 10_000)
        assert await world.desk.expiring.expire() == {}
        assert len(await world.stored()) == 1

    async def test_the_span_counts_after_capture_was_switched_off(self, world):
        """What was kept under it is not kept for ever by that."""
        await world.desk.terms.switch_on(CLIENT, actor=ACTOR, keep_us=MONTH_US)
        await world.ask()
        await world.desk.terms.switch_off(CLIENT, actor=ACTOR)
        await age_all(world, 31)
        assert await world.desk.expiring.expire() == {CLIENT: 1}

    async def test_a_later_word_takes_the_place_of_the_span(self, world):
        """Also one that says until erased."""
        await world.desk.terms.switch_on(CLIENT, actor=ACTOR, keep_us=MONTH_US)
        await world.ask()
        await world.desk.terms.switch_on(CLIENT, actor=ACTOR)
        await age_all(world, 31)
        assert await world.desk.expiring.expire() == {}

    async def test_a_hold_keeps_what_it_covers(self, world):
        """And when it is over, that goes too."""
        await world.desk.terms.switch_on(CLIENT, actor=ACTOR, keep_us=MONTH_US)
        for person in ("ann", "bob"):
            await world.ask(user=person)
        await age_all(world, 31)
        ann, _ = await world.stored()
        await hold(world, scope="subject", scope_id=ann.subject)
        assert await world.desk.expiring.expire() == {CLIENT: 1}
        assert await world.stored() == [ann]
        await release(world)
        assert await world.desk.expiring.expire() == {CLIENT: 1}
        assert await world.stored() == []

    async def test_a_start_looks_at_once(self, tmp_path):
        """Without being asked."""
        async with a_world(tmp_path) as world:
            await world.desk.terms.switch_on(CLIENT, actor=ACTOR, keep_us=MONTH_US)
            await world.ask()
            await age_all(world, 31)
        async with a_world(tmp_path, provider=world.provider) as again:
            await eventually(lambda: again.desk.store.find(_only(again)) is None)
            assert len(await again.events(PayloadsExpired)) == 1

    async def test_a_failure_is_tried_again(self, world, monkeypatch):
        """The next round comes whatever became of this one."""
        rounds = []

        async def failing(self):
            rounds.append(1)
            raise InvalidRequestError("no")

        monkeypatch.setattr("apikeyrouter.application.payloads.expiring.EVERY_S", 0.01)
        monkeypatch.setattr(Expiring, "expire", failing)
        await world.desk.expiring.close()
        world.desk.expiring.start()
        await eventually(lambda: len(rounds) >= 3)


def _only(world):
    return next(
        one.stream.removeprefix("payload-")
        for one in world.node.reader.read()
        if one.stream.startswith("payload-")
    )

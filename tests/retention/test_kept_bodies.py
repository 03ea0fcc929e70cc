"""Kept bodies and retention: what of a request leaves the log, what stays readable, what a hold keeps."""

import msgspec
import pytest
from lives import refolds_in, take_away, upgrade, verified
from quota_givens import asking
from retained_logs import ACTOR, DAY_US, HOUR_US, OFFER, SCRIPT, Step, drop, living, streams_in, verdict_of

from apikeyrouter.adapters.eventlog.sqlite_reader import SqliteReader
from apikeyrouter.adapters.providers.openai import OpenAIAdapter
from apikeyrouter.domain.events import PayloadCaptured
from apikeyrouter.domain.holds import HoldAsked, HoldScope
from apikeyrouter.domain.models.system_error import ConflictError
from apikeyrouter.domain.offers import parse_offers
from apikeyrouter.domain.payloads import Part
from apikeyrouter.interfaces.scripted_provider import ThreadedProvider

CLIENT = "acme"
PERSONS = ("ann", "bob")


async def ask_for(node, person: str) -> str:
    wanted = asking(CLIENT, model="swift-1")
    body = msgspec.json.encode({**msgspec.json.decode(wanted.body), "user": person})
    passage, _ = await node.route.execute(msgspec.structs.replace(wanted, body=body))
    return passage.request_id


@pytest.fixture
async def kept(tmp_path, calendar):
    """Return a log with bodies of two persons that are seventy days old, and whose they are."""
    log = tmp_path / "log.db"
    calendar.days_ago(70)
    with ThreadedProvider(SCRIPT) as provider:
        async with living(log) as node:
            adapter = OpenAIAdapter(base_url=provider.base_url, models=parse_offers([OFFER]))
            await node.manage.register_provider("openai", adapter, actor="test")
            await node.manage.register_key("sk-test-good", "openai", {"rpm": 600}, actor="test")
            await node.payloads.terms.switch_on(CLIENT, actor=ACTOR)
            of_persons = {person: [] for person in PERSONS}
            for _ in range(4):
                for person in PERSONS:
                    of_persons[person].append(await ask_for(node, person))
                    calendar.now_us += HOUR_US
    calendar.days_ago(0)
    return log, of_persons


def requests_in(log) -> set[str]:
    return {one.removeprefix("request-") for one in streams_in(log) if one.startswith("request-")}


async def test_a_hold_on_a_person_keeps_what_is_known_to_be_about_them(kept, calendar):
    """By the pseudonym that their bodies were sealed under; the other person's requests go."""
    log, of_persons = kept
    async with living(log) as node:
        await node.retaining.set(30 * DAY_US, actor=ACTOR)
        ann = node.payloads.reading.pseudonym(CLIENT, "ann")
        asked = HoldAsked(scope=HoldScope.Subject, scope_id=ann, reason="case 17")
        placed = await node.retaining.place(asked, actor=ACTOR)
        run = await drop(node)
        assert (run.step, run.requests, run.kept) == (Step.Done, 4, {"legal_hold": 4})
        assert requests_in(log) == set(of_persons["ann"])
        with pytest.raises(ConflictError, match="legal hold"):
            await node.payloads.erasing.erase(CLIENT, "ann", actor=ACTOR)
        await node.retaining.release(placed.hold.hold_id, actor=ACTOR, reason="over")
        assert (await drop(node)).requests == 4
    assert requests_in(log) == set()
    assert verdict_of(log).intact
    assert verified(log).identical


async def test_bodies_stay_readable_and_erasable_when_their_requests_are_gone(kept, calendar):
    """What the log says of bodies stays; reading, checking and erasing go by that."""
    log, of_persons = kept
    async with living(log) as node:
        await node.retaining.set(30 * DAY_US, actor=ACTOR)
        assert (await drop(node)).requests == 8
        told = [one for one in SqliteReader(log).read() if isinstance(one.event, PayloadCaptured)]
        assert len(told) == 8
        shown = await node.payloads.reading.show(of_persons["bob"][0], actor=ACTOR)
        assert b"bob" in shown.bodies[Part.Request]
        erasure = await node.payloads.erasing.erase(CLIENT, "bob", actor=ACTOR)
        assert [one.payloads for one in erasure.erased] == [4]
        assert (await node.payloads.check()).findings == ()
    assert verdict_of(log).intact


async def test_a_request_whose_bodies_are_not_settled_stays(kept, calendar):
    """Whom it is about is not known yet, so no hold on a person could cover it."""
    log, of_persons = kept
    async with living(log) as node:
        await node.retaining.set(30 * DAY_US, actor=ACTOR)
        node.state.payloads.due[of_persons["ann"][2]] = CLIENT
        assert (await drop(node)).requests == 4
    assert requests_in(log) == {one for person in PERSONS for one in of_persons[person][2:]}


async def test_a_start_with_nothing_at_hand_loses_no_body(kept, calendar):
    """Segments and snapshots are gone: what was captured, and under which terms, is known as ever."""
    log, of_persons = kept
    async with living(log) as node:
        await node.retaining.set(30 * DAY_US, actor=ACTOR)
        assert (await drop(node)).requests == 8
    take_away(log)
    upgrade(log)
    async with living(log) as node:
        assert CLIENT in node.state.payloads.capturing
        assert not node.state.payloads.due
        assert (await node.payloads.reading.show(of_persons["ann"][3], actor=ACTOR)).bodies
        assert (await node.payloads.check()).findings == ()
    [refold] = refolds_in(log)
    assert refold.event.events == 16
    assert verified(log, first=refold.position).identical
    assert verdict_of(log).intact

"""Erasure: what a subject said is gone for ever, the log still proves everything, and a hold forbids it."""

import asyncio
import base64
import json

import msgspec
import pytest
from loopback import eventually
from payload_world import ACTOR, CLIENT, Part, a_world, hold, payloads_path_beside, release, rows

from apikeyrouter.adapters.payloads import files
from apikeyrouter.adapters.proof.opening import evidence_of
from apikeyrouter.application import replay
from apikeyrouter.application.payloads.ports import PayloadStoreError
from apikeyrouter.application.proof.verification import verify
from apikeyrouter.domain.events import (
    EVENT_TYPES,
    ErasureRefused,
    ErasureStarted,
    PayloadLost,
    SubjectErased,
    canonical_bytes,
)
from apikeyrouter.domain.models.system_error import ConflictError, NotFoundError
from apikeyrouter.domain.payloads import Loss
from apikeyrouter.domain.proof.checkpoints import parse_checkpoint
from apikeyrouter.domain.proof.leaves import StoredRow, row_hash
from apikeyrouter.domain.proof.merkle import inclusion_holds
from apikeyrouter.domain.proof.notes import parse_note
from apikeyrouter.interfaces.payload_views import receipt_view


async def erase(world, person=None, client=CLIENT, **told):
    return await world.desk.erasing.erase(client, person, actor=ACTOR, **told)


class TestWhatIsErased:
    async def test_one_person_and_nobody_else(self, world):
        """Their key is gone and their rows are deleted; those of others open."""
        for person in ("ann", "bob", "ann", None):
            await world.ask(user=person) if person else await world.ask()
        before = await world.stored()
        ann = world.desk.reading.pseudonym(CLIENT, "ann")
        erasure = await erase(world, "ann", reason="a letter")
        [end] = erasure.erased
        theirs = [one for one in before if one.subject == ann]
        assert (end.subject, end.payloads, end.reason, end.actor) == (ann, 2, "a letter", ACTOR)
        assert (end.from_us, end.until_us) == (theirs[0].taken_at_us, theirs[1].taken_at_us)
        assert {end.key_fingerprint} == {one.key_fingerprint for one in theirs}
        assert await world.stored() == [one for one in before if one.subject != ann]
        for one in before:
            if one.subject == ann:
                with pytest.raises(NotFoundError, match=erasure.erasure_id):
                    await world.desk.reading.show(one.request_id, actor=ACTOR)
            else:
                assert await world.desk.reading.show(one.request_id, actor=ACTOR)
        assert (await world.desk.check()).findings == ()

    async def test_all_persons_of_a_client(self, world):
        """And the client itself, in one order; those of another client stay."""
        await world.desk.terms.switch_on("other", actor=ACTOR)
        for person in ("ann", "bob"):
            await world.ask(user=person)
        await world.ask()
        await world.ask(client="other", user="ann")
        erasure = await erase(world)
        assert erasure.finished
        assert len(erasure.erased) == 3
        [left] = await world.stored()
        assert left.client_id == "other"
        assert len(world.desk.store.key_fingerprints()) == 1

    async def test_what_comes_afterwards_is_a_new_matter(self, world):
        """It has a key of its own, and can be erased once more."""
        await world.ask(user="ann")
        first = await erase(world, "ann")
        await world.ask(user="ann")
        [kept] = await world.stored()
        assert kept.key_fingerprint != first.erased[0].key_fingerprint
        assert Part.Answer in (await world.desk.reading.show(kept.request_id, actor=ACTOR)).bodies
        await erase(world, "ann")
        assert await world.stored() == []
        assert len(world.desk.erasing.erasure_ids()) == 2

    async def test_what_had_ended_before_the_order_is_erased_with_it(self, world):
        """Also what was on its way into the store when the order came."""
        async with world.desk.capturing.alone():
            for _ in range(3):
                await world.ask(user="ann")
            order = asyncio.create_task(erase(world, "ann"))
            await asyncio.sleep(0)
        assert (await order).erased[0].payloads == 3

    async def test_where_nothing_is_kept_nothing_is_ordered(self, world):
        """No such person, no such client: no event says that anything was erased."""
        await world.ask(user="ann")
        for client, person in ((CLIENT, "nobody"), ("nobody", None), (CLIENT, "")):
            with pytest.raises(NotFoundError, match="no bodies are kept"):
                await erase(world, person, client)
        assert await world.events(ErasureStarted) == []
        with pytest.raises(NotFoundError, match="no erasure"):
            await world.desk.erasing.receipt("nothing")


class TestTheReceipt:
    async def test_it_proves_itself(self, world):
        """Each event's leaf leads to the root of a signed checkpoint, computed from the receipt alone."""
        await world.ask(user="ann")
        erasure = await erase(world, "ann", reason="a letter")
        last = erasure.events[-1].position

        def sealed():
            return world.node.sealing._sealer.sealed >= last

        await eventually(sealed)
        receipt = json.loads(json.dumps(await receipt_view(world.node, erasure)))
        assert receipt["sealed"]
        assert receipt["finished"]
        assert len(receipt["events"]) == len(receipt["proofs"]) == 2
        for event, proof in zip(receipt["events"], receipt["proofs"], strict=True):
            state = canonical_bytes(_event(event))
            row = StoredRow(event["position"], event["stream"], event["version"], event["name"], state)
            assert base64.b64encode(row_hash(row)).decode() == proof["leaf_hash"]
            checkpoint = parse_checkpoint(parse_note(proof["checkpoint"].encode()).text)
            assert inclusion_holds(
                row_hash(row),
                proof["position"] - 1,
                proof["size"],
                [base64.b64decode(step) for step in proof["path"]],
                checkpoint.root,
            )

    async def test_it_names_no_person(self, world):
        """A receipt can be handed on."""
        await world.ask(user="a-person-by-name")
        receipt = await receipt_view(world.node, await erase(world, "a-person-by-name"))
        assert "a-person-by-name" not in json.dumps(receipt)
        assert receipt["subjects"][0]["subject"] == world.desk.reading.pseudonym(CLIENT, "a-person-by-name")

    async def test_the_log_is_whole_afterwards(self, tmp_path):
        """Every seal holds, and every decision is made again with the same bytes."""
        async with a_world(tmp_path) as world:
            for person in ("ann", "bob"):
                await world.ask(user=person)
            await erase(world, "ann")
            await world.ask(user="ann")
        verdict = verify(evidence_of(world.node.settings, world.log.resolve()))
        assert not verdict.findings
        async with a_world(tmp_path, provider=world.provider) as again:
            done = await asyncio.to_thread(replay.verify, again.node.reader.read())
            assert done.decisions >= 3
            assert done.different == 0


class TestLegalHolds:
    async def test_each_scope_forbids_it(self, world):
        """The refusal names the hold and is recorded; nothing is ordered and nothing is gone."""
        await world.ask(user="ann")
        [kept] = await world.stored()
        scopes = [
            {"scope": "client", "scope_id": CLIENT},
            {"scope": "subject", "scope_id": kept.subject},
            {"scope": "request", "scope_id": kept.request_id},
            {"scope": "period", "since_us": kept.taken_at_us, "until_us": kept.taken_at_us + 1},
            {"scope": "everything"},
        ]
        for number, asked in enumerate(scopes):
            await hold(world, str(number), **asked)
            for person in ("ann", None):
                with pytest.raises(ConflictError, match=f"hold {number} "):
                    await erase(world, person, reason="a letter")
            await release(world, str(number))
        refusals = await world.events(ErasureRefused)
        assert [one.event.hold_id for one in refusals] == [str(n) for n in range(5) for _ in range(2)]
        assert {one.event.subject for one in refusals} == {kept.subject}
        assert await world.events(ErasureStarted) == []
        assert await world.desk.reading.show(kept.request_id, actor=ACTOR)
        await erase(world, "ann")

    async def test_a_hold_on_others_forbids_nothing(self, world):
        """Another client, another person, another time."""
        await world.ask(user="ann")
        await world.ask(user="bob")
        first, second = await world.stored()
        await hold(world, "1", scope="client", scope_id="other")
        await hold(world, "2", scope="subject", scope_id=second.subject)
        await hold(world, "3", scope="period", until_us=first.taken_at_us)
        await erase(world, "ann")
        assert await world.stored() == [second]
        with pytest.raises(ConflictError):
            await erase(world)


class TestADiskThatFails:
    async def test_the_order_stands_until_it_is_carried_out(self, tmp_path, monkeypatch):
        """Nothing is sealed for that client meanwhile; the next order, or the next start, carries it out."""

        def fail(*_given):
            raise PayloadStoreError("the disk failed")

        async with a_world(tmp_path) as world:
            await world.ask(user="ann")
            await world.stored()
            monkeypatch.setattr(files.PayloadFiles, "shred", fail)
            with pytest.raises(PayloadStoreError):
                await erase(world, "ann")
            assert len(world.node.state.payloads.erasing) == 1
            await world.ask(user="bob")
            await world.stored()
            assert [one.event.reason for one in await world.events(PayloadLost)] == [Loss.ErasurePending]
            assert await world.events(SubjectErased) == []
        async with a_world(tmp_path, provider=world.provider) as again:
            assert len(again.node.state.payloads.erasing) == 1
            monkeypatch.undo()
            with pytest.raises(NotFoundError):
                await erase(again, "ann")
            [end] = await again.events(SubjectErased)
            assert end.event.payloads == 1
            assert again.node.state.payloads.erasing == {}
            await again.ask(user="ann")
            assert len(await again.stored()) == 1

    async def test_rows_that_are_left_say_nothing(self, tmp_path, monkeypatch):
        """The key is what counts: it goes first."""
        async with a_world(tmp_path) as world:
            await world.ask(user="ann")
            await world.stored()

            def fail(*_given):
                raise PayloadStoreError("the disk failed")

            monkeypatch.setattr(files.PayloadFiles, "delete", fail)
            with pytest.raises(PayloadStoreError):
                await erase(world, "ann")
            assert world.desk.store.key_fingerprints() == set()
            assert len(rows(world.log)) == 2
            assert payloads_path_beside(world.log).exists()
            monkeypatch.undo()
        async with a_world(tmp_path, provider=world.provider) as again:
            assert rows(again.log) == []
            assert len(await again.events(SubjectErased)) == 1


def _event(told):
    return msgspec.convert(told["data"], EVENT_TYPES[told["name"]])

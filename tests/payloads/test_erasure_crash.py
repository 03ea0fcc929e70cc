"""kill -9 at every step of an erasure: the next start finishes it, once, and the receipt says so."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from payload_world import CLIENT, a_world, rows

from apikeyrouter.adapters.proof.opening import evidence_of
from apikeyrouter.application.proof.verification import verify
from apikeyrouter.domain.events import ErasureStarted, PayloadLost, SubjectErased

STEPS = ("ordered", "shredding", "shredded", "deleting", "deleted", "recorded")


@pytest.mark.parametrize("step", STEPS)
async def test_the_next_start_finishes_it(tmp_path, step):
    """One order, one end, the same counts whatever was done already; those of others open still."""
    script = Path(__file__).with_name("die_while_erasing.py")
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, str(script), str(tmp_path), step],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -9, done.stderr.decode()
    for _ in range(2):
        async with a_world(tmp_path) as world:
            assert world.node.state.payloads.erasing == {}
            [order] = await world.events(ErasureStarted)
            [end] = await world.events(SubjectErased)
            assert end.event.payloads == order.event.subjects[0].payloads == 2
            assert end.event.subject == world.desk.reading.pseudonym(CLIENT, "ann")
            [left] = await world.stored()
            assert left.subject == world.desk.reading.pseudonym(CLIENT, "bob")
            assert (await world.desk.reading.show(left.request_id, actor="test")).bodies
            assert world.desk.store.key_fingerprints() == {left.key_fingerprint}
            assert await world.events(PayloadLost) == []
            assert (await world.desk.check()).findings == ()
            [erasure_id] = world.desk.erasing.erasure_ids()
            assert (await world.desk.erasing.receipt(erasure_id)).finished
        assert len(rows(world.log)) == 2
        assert not verify(evidence_of(world.node.settings, world.log.resolve())).findings

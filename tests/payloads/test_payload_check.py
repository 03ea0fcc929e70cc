"""What was changed, removed or put into the file of bodies is found, and named."""

import pytest
from payload_world import ACTOR, CLIENT, change, payload_keys_path_beside

from apikeyrouter.application.payloads.checking import PayloadTrouble

COPY = (
    "INSERT INTO payloads SELECT 'f' || request_id, part, client_id, subject, key_fingerprint,"
    " taken_at_us, plain_bytes, truncated, sealed, sealed_bytes, sealed_sha256, settled FROM payloads"
)
TAMPERING = [
    ("DELETE FROM payloads WHERE part = 'answer'", {PayloadTrouble.Missing}),
    ("DELETE FROM payloads", {PayloadTrouble.Missing}),
    ("UPDATE payloads SET sealed = zeroblob(99) WHERE part = 'answer'", {PayloadTrouble.Changed}),
    ("UPDATE payloads SET sealed = CAST(sealed || x'00' AS BLOB)", {PayloadTrouble.Changed}),
    ("UPDATE payloads SET request_id = 'f' || request_id", {PayloadTrouble.Missing, PayloadTrouble.Unknown}),
    ("UPDATE payloads SET key_fingerprint = 'f'", {PayloadTrouble.KeyMissing}),
    (COPY, {PayloadTrouble.Unknown}),
]


async def troubles(world):
    return {finding.trouble for finding in (await world.desk.check()).findings}


@pytest.fixture
async def kept(world):
    """Two payloads that the log knows, and the store knows that it does."""
    for person in ("ann", "bob"):
        await world.ask(user=person)
    listed = await world.stored()
    world.desk.store.settle([one.request_id for one in listed])
    assert await troubles(world) == set()
    return listed


@pytest.mark.parametrize(("sql", "expected"), TAMPERING)
async def test_rows_that_were_tampered_with(world, kept, sql, expected):
    """Behind the program's back."""
    change(world.log, sql)
    assert await troubles(world) == expected


async def test_a_file_that_is_gone(world, kept):
    """Everything in it is missing."""
    change(world.log, "DELETE FROM payloads")
    found = (await world.desk.check()).findings
    assert {(one.request_id, one.part) for one in found} == {
        (one.request_id, part) for one in kept for part in ("request", "answer")
    }


async def test_a_key_that_is_gone(world, kept):
    """No erasure was ordered, so it is told."""
    world.desk.store.shred([kept[0].subject])
    found = (await world.desk.check()).findings
    assert {one.trouble for one in found} == {PayloadTrouble.KeyMissing}
    assert {one.request_id for one in found} == {kept[0].request_id}


async def test_bytes_that_came_back_after_an_erasure(world, kept):
    """Rows and keys from a backup are found, also if nobody could open them."""
    keys = payload_keys_path_beside(world.log)
    backup = keys.read_bytes()
    change(world.log, "CREATE TABLE copy AS SELECT * FROM payloads")
    await world.desk.erasing.erase(CLIENT, "ann", actor=ACTOR)
    assert await troubles(world) == set()
    change(world.log, "INSERT OR IGNORE INTO payloads SELECT * FROM copy")
    assert await troubles(world) == {PayloadTrouble.NotErased}
    world.desk.store._keys.close()
    keys.write_bytes(backup)
    found = (await world.desk.check()).findings
    assert any(one.request_id is None for one in found)
    assert {one.trouble for one in found} == {PayloadTrouble.NotErased}


async def test_what_is_on_its_way_is_no_finding(world, kept, monkeypatch):
    """A row that the log does not know yet, and a row that came behind the reading of the rows."""
    change(world.log, COPY.replace("sealed_sha256, settled", "sealed_sha256, 0"))
    assert await troubles(world) == set()
    monkeypatch.setattr(world.desk.store, "parts", lambda: iter(()))
    assert await troubles(world) == set()


async def test_what_counts(world, kept):
    """How many were kept, how many of them are gone as they should be, how many were lost."""
    await world.desk.erasing.erase(CLIENT, "ann", actor=ACTOR)
    check = await world.desk.check()
    assert (check.payloads, check.gone, check.lost) == (2, 1, 0)

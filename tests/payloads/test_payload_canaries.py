"""After an erasure nothing is left anywhere: no word, and no key that opens a copy of what there was."""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from payload_world import ACTOR, CLIENT, PROMPT, Part, a_world, files_of, payload_keys_path_beside, rows

from apikeyrouter.adapters.payloads.sealing import unseal_body
from apikeyrouter.adapters.vault.envelope import _bound, derive_key
from apikeyrouter.adapters.vault.master_key import load_master_key

WRAPPED_BYTES = 12 + 32 + 16
PERSON = "CANARY-PERSON-ann@example.com"
REASON = "a letter"


def unwrapped_from(folder, log, subject):
    """Try every stretch of every file as a data key of a subject, as who has the master key could."""
    master = load_master_key(explicit=None, key_file=None, log_path=log)
    cipher = AESGCM(derive_key(master, b"wrapping"))
    bound, found = _bound(b"data-key", subject), set()
    for content in files_of(folder).values():
        for start in range(len(content) - WRAPPED_BYTES + 1):
            window = content[start : start + WRAPPED_BYTES]
            try:
                found.add(cipher.decrypt(window[:12], window[12:], bound))
            except InvalidTag:
                continue
    return found


def canaries_in(folder):
    """Name the files that hold a word of a prompt, of an answer, or a person's name, in some encoding."""
    words = [PROMPT.encode(), b"CANARY", PERSON.encode(), PERSON.encode().hex().encode()]
    words += [word.decode().encode("utf-16-le") for word in words[:3]]
    return [(name, word) for name, content in files_of(folder).items() for word in words if word in content]


async def used(folder, *, erase):
    """Use everything there is about bodies; return the world and the rows before an erasure."""
    async with a_world(folder) as world:
        await world.ask(user=PERSON)
        await world.ask(user=PERSON, stream=True)
        await world.ask("CANARY-of-another", user="CANARY-bob")
        kept = await world.stored()
        await world.desk.reading.show(kept[0].request_id, actor=ACTOR, reason=REASON)
        sealed = rows(world.log, "SELECT request_id, part, subject, key_fingerprint, sealed FROM payloads")
        assert canaries_in(folder) == []
        if erase:
            await world.desk.erasing.erase(CLIENT, PERSON, actor=ACTOR, reason=REASON)
        await world.desk.check()
        assert canaries_in(folder) == []
    return world, kept[0].subject, [row for row in sealed if row[2] == kept[0].subject]


async def test_files_hold_only_ciphertext(tmp_path):
    """While the server runs and after it: no word of a prompt or an answer, and no name of a person."""
    world, subject, sealed = await used(tmp_path, erase=False)
    assert len(sealed) == 4
    assert canaries_in(tmp_path) == []
    # The same search as after an erasure finds the key, so it would be found there.
    assert len(unwrapped_from(tmp_path, world.log, subject)) >= 1


async def test_after_an_erasure_no_key_opens_a_copy_of_what_there_was(tmp_path):
    """Whoever kept the rows, has the master key, and tries every stretch of every file, has nothing."""
    world, subject, copies = await used(tmp_path, erase=True)
    assert canaries_in(tmp_path) == []
    assert unwrapped_from(tmp_path, world.log, subject) == set()
    raw = b"".join(files_of(tmp_path).values())
    for *_, sealed in copies:
        assert sealed not in raw
        assert sealed[:32] not in raw
    async with a_world(tmp_path) as again:
        left = again.node.payloads.store._keys
        others = [left.get(name) for name in left._store().subjects()]
        assert len(others) == 1
        for request_id, part, row_subject, fingerprint, sealed in copies:
            for key in others:
                assert not opens(key, (request_id, part, row_subject, fingerprint), sealed)


async def test_a_backup_of_the_keys_brings_them_back(tmp_path):
    """As the guide says: what was copied away before is beyond what can be erased here."""
    async with a_world(tmp_path) as world:
        await world.ask(user=PERSON)
        await world.stored()
        backup = payload_keys_path_beside(world.log).read_bytes()
        [request, answer] = rows(
            world.log,
            "SELECT request_id, part, subject, key_fingerprint, sealed FROM payloads ORDER BY 2 DESC",
        )
        await world.desk.erasing.erase(CLIENT, PERSON, actor=ACTOR)
    payload_keys_path_beside(world.log).write_bytes(backup)
    async with a_world(tmp_path) as again:
        keys = again.node.payloads.store._keys
        assert opens(keys.get(request[2]), (*request[:4],), request[4])
        assert request[1] == Part.Request
        assert opens(keys.get(answer[2]), (*answer[:4],), answer[4])
        findings = (await again.desk.check()).findings
        assert [one.trouble for one in findings] == ["not_erased"]


def opens(key, place, sealed):
    try:
        return bool(unseal_body(key, place, sealed))
    except Exception as error:
        if type(error).__name__ != "SealBrokenError":
            raise
        return False

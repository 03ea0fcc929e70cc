"""A sealed body opens with its key at its place, and nowhere else."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from payload_world import change, payload_keys_path_beside, rows

from apikeyrouter.adapters.payloads.files import PayloadFiles
from apikeyrouter.adapters.payloads.sealing import seal_body, unseal_body
from apikeyrouter.adapters.payloads.subject_keys import SubjectKeys
from apikeyrouter.adapters.vault.envelope import SealBrokenError
from apikeyrouter.application.payloads.ports import Bodies, Payload, PayloadStoreError
from apikeyrouter.domain.models.system_error import ConfigurationError
from apikeyrouter.domain.payloads import Part

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
MASTER = b"m" * 32
NAMES = st.text("0123456789abcdef", min_size=1, max_size=8)
PLACES = st.tuples(NAMES, st.sampled_from(["request", "answer"]), NAMES, NAMES)
BODIES = st.binary(max_size=600) | st.binary(max_size=8).map(lambda some: some * 500)


def bodies(request_id="1", request=b'{"user":"u"}', answer=b"an answer", client="acme"):
    return Bodies(request_id=request_id, client_id=client, taken_at_us=5, request=request, answer=answer)


@pytest.fixture
def store(tmp_path):
    files = PayloadFiles(tmp_path / "log.db", MASTER)
    yield files
    files.close()


class TestOneSeal:
    @given(BODIES, PLACES)
    def test_what_was_sealed_comes_back(self, body, place):
        """Byte for byte, whether it was worth deflating or not."""
        assert unseal_body(KEY, place, seal_body(KEY, place, body)) == body

    @given(BODIES, PLACES, PLACES)
    def test_it_opens_at_its_place_alone(self, body, place, other):
        """Another request, part, subject or key in the place, and it is as good as changed."""
        sealed = seal_body(KEY, place, body)
        if place != other:
            with pytest.raises(SealBrokenError):
                unseal_body(KEY, other, sealed)
        with pytest.raises(SealBrokenError):
            unseal_body(OTHER_KEY, place, sealed)

    @given(BODIES, PLACES, st.data())
    def test_a_changed_byte_is_noticed(self, body, place, data):
        """Anywhere, and a cut as well."""
        sealed = bytearray(seal_body(KEY, place, body))
        at = data.draw(st.integers(0, len(sealed) - 1))
        for changed in (bytes(sealed[:at]), bytes([*sealed[:at], sealed[at] ^ 1, *sealed[at + 1 :]])):
            with pytest.raises(SealBrokenError):
                unseal_body(KEY, place, changed)

    @given(BODIES, PLACES)
    def test_the_same_body_is_never_sealed_the_same(self, body, place):
        """So equal bodies cannot be told from their seals."""
        assert seal_body(KEY, place, body) != seal_body(KEY, place, body)


class TestTheFiles:
    def test_nothing_is_made_before_the_first_body(self, tmp_path):
        """Asking alone leaves no file."""
        files = PayloadFiles(tmp_path / "log.db", MASTER)
        assert files.find("1") is None
        assert files.listed(client_id=None, subject=None, after="", limit=9) == []
        assert list(files.parts()) == []
        assert files.key_fingerprints() == set()
        files.shred(["x"])
        files.delete(["x"])
        files.settle(["1"])
        assert list(tmp_path.iterdir()) == []

    def test_both_bodies_come_back(self, store):
        """By their part."""
        assert isinstance(store.keep([bodies()])[0], Payload)
        assert store.open("1") == {Part.Request: b'{"user":"u"}', Part.Answer: b"an answer"}

    def test_a_request_without_an_answer(self, store):
        """There is one part then."""
        store.keep([bodies(answer=None)])
        assert list(store.open("1")) == [Part.Request]

    def test_swapped_rows_do_not_open(self, store, tmp_path):
        """Two requests of one subject, their ciphertexts exchanged with no code of ours."""
        log = tmp_path / "log.db"
        store.keep([bodies("1", answer=None), bodies("2", answer=None)])
        (one,), (two,) = (
            rows(log, f"SELECT sealed FROM payloads WHERE request_id = '{name}'") for name in "12"
        )
        change(log, "UPDATE payloads SET sealed = ? WHERE request_id = '1'", two[0])
        change(log, "UPDATE payloads SET sealed = ? WHERE request_id = '2'", one[0])
        for name in "12":
            with pytest.raises(PayloadStoreError, match="does not open"):
                store.open(name)

    def test_parts_that_were_exchanged_do_not_open(self, store, tmp_path):
        """An answer cannot pass for what was asked."""
        store.keep([bodies()])
        change(tmp_path / "log.db", "UPDATE payloads SET part = 'swap' WHERE part = 'request'")
        with pytest.raises(PayloadStoreError):
            store.open("1")

    def test_a_row_under_another_subject_does_not_open(self, store, tmp_path):
        """Neither with its old key nor with that of the other."""
        store.keep([bodies("1"), bodies("2", request=b'{"user":"other"}')])
        other = store.find("2")
        change(
            tmp_path / "log.db",
            "UPDATE payloads SET subject = ?, key_fingerprint = ? WHERE request_id = '1'",
            other.subject,
            other.key_fingerprint,
        )
        with pytest.raises(PayloadStoreError):
            store.open("1")

    def test_subjects_have_keys_of_their_own(self, store):
        """And all requests of one subject share one."""
        kept = store.keep([bodies("1"), bodies("2"), bodies("3", request=b"{}"), bodies("4", client="other")])
        fingerprints = [payload.key_fingerprint for payload in kept]
        assert fingerprints[0] == fingerprints[1]
        assert len(set(fingerprints)) == 3
        assert store.key_fingerprints() == set(fingerprints)

    def test_a_shredded_key_opens_nothing_and_is_followed_by_another(self, store):
        """What comes afterwards is a new matter."""
        before = store.keep([bodies("1")])[0]
        store.shred([before.subject])
        with pytest.raises(PayloadStoreError):
            store.open("1")
        after = store.keep([bodies("2")])[0]
        assert after.subject == before.subject
        assert after.key_fingerprint != before.key_fingerprint
        with pytest.raises(PayloadStoreError):
            store.open("1")
        assert store.open("2")

    def test_a_damaged_key_keeps_others_from_nothing(self, store, tmp_path):
        """What cannot be sealed is said to be lost, and the rest of the batch is stored."""
        kept = store.keep([bodies("1")])[0]
        store.close()
        keys = SubjectKeys(payload_keys_path_beside(tmp_path / "log.db"), MASTER)
        keys._store()._database.execute("UPDATE sealed SET material = ?", [os.urandom(60)])
        keys._store()._database.conn.commit()
        keys.close()
        outcomes = store.keep([bodies("2"), bodies("3", request=b'{"user":"other"}')])
        assert outcomes[0] == "store_failed"
        assert isinstance(outcomes[1], Payload)
        assert kept.key_fingerprint not in store.key_fingerprints()

    def test_another_master_key_is_refused(self, store, tmp_path):
        """It would seal under keys that the right one cannot open."""
        store.keep([bodies("1")])
        other = PayloadFiles(tmp_path / "log.db", b"x" * 32)
        with pytest.raises(PayloadStoreError, match="another master key"):
            other.keep([bodies("2")])
        with pytest.raises(ConfigurationError):
            SubjectKeys(payload_keys_path_beside(tmp_path / "log.db"), b"x" * 32).made("s")

    def test_files_are_for_their_owner_alone(self, store, tmp_path):
        """Whatever the umask says."""
        store.keep([bodies("1")])
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}

    def test_in_memory_nothing_touches_the_disk(self, tmp_path, monkeypatch):
        """A log in memory keeps its bodies there."""
        monkeypatch.chdir(tmp_path)
        files = PayloadFiles(None, MASTER)
        files.keep([bodies("1")])
        assert files.open("1")[Part.Answer] == b"an answer"
        assert list(tmp_path.iterdir()) == []
        assert MASTER.decode() not in repr(files) + repr(bodies())

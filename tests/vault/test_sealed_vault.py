"""The vault port: material goes in sealed, and comes out only for the right key and master key."""

import sqlite3
import traceback

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apikeyrouter.adapters.vault import SealedVault, key_path_beside, vault_path_beside
from apikeyrouter.domain.models.system_error import (
    ConfigurationError,
    InvalidRequestError,
    KeyMaterialMissingError,
)
from apikeyrouter.limits import MOST_MATERIAL_BYTES
from apikeyrouter.settings import RouterSettings

MASTER_KEY = bytes(range(32))
OTHER_MASTER_KEY = bytes(range(1, 33))
MATERIAL = "sk-proj-Zk3Jq8Wv1Lx9Tn5Rb7Yd2Hm6"
THE_OTHER = "(select {} from sealed where subject = 'k2')"
WHOLE_OTHER = THE_OTHER.format("data_key, material")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.db.vault"


@pytest.fixture
def vault(path):
    vault = SealedVault(path, MASTER_KEY)
    yield vault
    vault.close()


def opened_again(path, master_key=MASTER_KEY):
    return SealedVault(path, master_key)


class TestSealing:
    def test_material_comes_back_in_another_process(self, vault, path):
        """What was sealed is there after closing and opening."""
        vault.seal("k1", MATERIAL)
        vault.close()
        assert opened_again(path).unseal("k1") == MATERIAL

    @given(material=TEXT)
    @settings(max_examples=50, deadline=None)
    def test_any_text_comes_back_as_it_was(self, material):
        """Line ends, quotes and every script survive, past the memory of the process too."""
        vault = SealedVault(None, MASTER_KEY)
        vault.seal("k1", material)
        vault._unsealed.clear()
        assert vault.unseal("k1") == material
        vault.close()

    def test_a_second_seal_replaces_the_first(self, vault, path):
        """Rotation leaves one material, also for the next process."""
        vault.seal("k1", MATERIAL)
        vault.seal("k1", "rotated-material")
        assert vault.unseal("k1") == "rotated-material"
        vault.close()
        assert opened_again(path).unseal("k1") == "rotated-material"

    def test_the_file_never_holds_the_material(self, vault, path):
        """Not in any encoding that a raw search would find."""
        vault.seal("k1", MATERIAL)
        raw = path.read_bytes()
        assert MATERIAL.encode() not in raw
        assert MATERIAL.encode("utf-16-le") not in raw
        assert MATERIAL[8:16].encode() not in raw

    def test_the_same_material_is_sealed_differently_each_time(self, vault):
        """Equal keys cannot be told from the file."""
        vault.seal("k1", MATERIAL)
        vault.seal("k2", MATERIAL)
        first, second = vault._store.get("k1"), vault._store.get("k2")
        assert first.material[12:] != second.material[12:]
        assert first.data_key != second.data_key

    def test_the_hot_path_does_not_touch_the_store(self, vault, monkeypatch):
        """After the first time, unsealing is a look-up in memory."""
        vault.seal("k1", MATERIAL)
        monkeypatch.setattr(vault._store, "get", lambda _subject: pytest.fail("the store was read"))
        assert vault.unseal("k1") == MATERIAL

    def test_the_first_unsealing_is_remembered(self, vault, path, monkeypatch):
        """A material is opened once per process."""
        vault.seal("k1", MATERIAL)
        again = opened_again(path)
        again.unseal("k1")
        monkeypatch.setattr(again._store, "get", lambda _subject: pytest.fail("the store was read"))
        assert again.unseal("k1") == MATERIAL

    def test_who_listens_hears_every_material_that_enters_memory(self, vault, path):
        """So that a redactor knows what to mask before it can be logged."""
        heard = []
        listening = SealedVault(path, MASTER_KEY, heard=heard.append)
        listening.seal("k1", MATERIAL)
        SealedVault(path, MASTER_KEY, heard=heard.append).unseal("k1")
        assert heard == [MATERIAL, MATERIAL]

    @pytest.mark.parametrize("material", ["", "x" * (MOST_MATERIAL_BYTES + 1), "é" * MOST_MATERIAL_BYTES])
    def test_material_without_or_beyond_measure_is_refused(self, vault, material):
        """Nothing is stored for it."""
        with pytest.raises(InvalidRequestError, match="key material must have"):
            vault.seal("k1", material)
        with pytest.raises(KeyMaterialMissingError):
            vault.unseal("k1")

    def test_material_that_is_no_text_is_refused_without_being_shown(self, vault):
        """A lone surrogate cannot be stored; the error does not carry the material with it."""
        with pytest.raises(InvalidRequestError) as refused:
            vault.seal("k1", f"{MATERIAL}\udc80")
        assert MATERIAL[:12] not in "".join(traceback.format_exception(refused.value))


class TestDestroying:
    def test_destroyed_material_is_missing_at_once_and_for_ever(self, vault, path):
        """Neither this process nor the next one has it."""
        vault.seal("k1", MATERIAL)
        vault.destroy("k1")
        with pytest.raises(KeyMaterialMissingError, match="k1"):
            vault.unseal("k1")
        with pytest.raises(KeyMaterialMissingError):
            opened_again(path).unseal("k1")

    def test_the_sealed_bytes_and_the_data_key_are_gone_from_the_file(self, vault, path):
        """Even someone with the master key finds nothing to open."""
        vault.seal("k1", MATERIAL)
        sealed = vault._store.get("k1")
        assert sealed.material in path.read_bytes()
        vault.destroy("k1")
        vault.close()
        raw = b"".join(file.read_bytes() for file in path.parent.iterdir())
        assert sealed.material not in raw
        assert sealed.data_key not in raw

    def test_other_keys_stay(self, vault):
        """Destruction is for one subject."""
        vault.seal("k1", MATERIAL)
        vault.seal("k2", "another-material")
        vault.destroy("k1")
        vault._unsealed.clear()
        assert vault.unseal("k2") == "another-material"

    def test_destroying_twice_is_harmless(self, vault):
        """Recovery may repeat what a crash interrupted."""
        vault.destroy("never-there")


class TestTampering:
    def change(self, path, sql):
        connection = sqlite3.connect(path)
        connection.execute(sql)
        connection.commit()
        connection.close()

    @pytest.mark.parametrize(
        "sql",
        [
            f"update sealed set material = {THE_OTHER.format('material')} where subject = 'k1'",
            f"update sealed set data_key = {THE_OTHER.format('data_key')} where subject = 'k1'",
            f"update sealed set (data_key, material) = {WHOLE_OTHER} where subject = 'k1'",
            "update sealed set material = data_key where subject = 'k1'",
            "update sealed set material = x'' where subject = 'k1'",
            "update sealed set data_key = zeroblob(60) where subject = 'k1'",
        ],
        ids=["material swapped", "data key swapped", "row moved", "data key as material", "cut", "zeroed"],
    )
    def test_a_row_that_was_changed_or_moved_does_not_open(self, vault, path, sql):
        """Each seal is bound to its subject and its purpose."""
        vault.seal("k1", MATERIAL)
        vault.seal("k2", "material-of-another-key")
        vault.close()
        self.change(path, sql)
        with pytest.raises(KeyMaterialMissingError, match="damaged row for key k1"):
            opened_again(path).unseal("k1")

    def test_a_vault_whose_check_value_was_removed_is_refused(self, vault, path):
        """A filled vault without its check cannot be taken for a new one."""
        vault.seal("k1", MATERIAL)
        vault.close()
        self.change(path, "delete from checks")
        with pytest.raises(ConfigurationError):
            opened_again(path)


class TestMasterKey:
    def test_another_master_key_is_refused_at_opening(self, vault, path):
        """The message names the vault and the settings, and no bytes."""
        vault.seal("k1", MATERIAL)
        vault.close()
        with pytest.raises(ConfigurationError, match="sealed with another master key") as refused:
            opened_again(path, OTHER_MASTER_KEY)
        told = "".join(traceback.format_exception(refused.value))
        assert "log.db.vault" in told
        assert "APIKEYROUTER_ENCRYPTION_KEY" in told
        assert "InvalidTag" not in told
        assert repr(OTHER_MASTER_KEY)[2:-1] not in told

    def test_an_empty_vault_is_bound_to_its_master_key_as_well(self, vault, path):
        """The first opening decides, not the first key."""
        vault.close()
        with pytest.raises(ConfigurationError):
            opened_again(path, OTHER_MASTER_KEY)

    def test_the_right_one_still_opens_after_a_refusal(self, vault, path):
        """Trying another key changes nothing."""
        vault.seal("k1", MATERIAL)
        vault.close()
        with pytest.raises(ConfigurationError):
            opened_again(path, OTHER_MASTER_KEY)
        assert opened_again(path).unseal("k1") == MATERIAL

    @pytest.mark.parametrize("master_key", [b"", b"short", bytes(31), bytes(33)])
    def test_a_master_key_of_another_size_is_a_programming_error(self, master_key):
        """The sources check sizes; nothing is padded or cut here."""
        with pytest.raises(ValueError, match="32 bytes"):
            SealedVault(None, master_key)


class TestFingerprint:
    def test_the_same_material_has_the_same_fingerprint_in_every_process(self, vault, path):
        """Duplicates are recognised after a restart."""
        vault.close()
        assert opened_again(path).fingerprint(MATERIAL) == SealedVault(None, MASTER_KEY).fingerprint(MATERIAL)

    def test_it_is_keyed(self):
        """Without the master key nobody can test a guess against a fingerprint."""
        one = SealedVault(None, MASTER_KEY).fingerprint(MATERIAL)
        assert one != SealedVault(None, OTHER_MASTER_KEY).fingerprint(MATERIAL)

    @given(one=TEXT, other=TEXT)
    @settings(max_examples=50)
    def test_it_is_32_hex_digits_and_tells_materials_apart(self, one, other):
        """Equal exactly for equal materials."""
        vault = SealedVault(None, MASTER_KEY)
        assert len(vault.fingerprint(one)) == 32
        assert int(vault.fingerprint(one), 16) >= 0
        assert (vault.fingerprint(one) == vault.fingerprint(other)) == (one == other)


class TestOpenFromSettings:
    def test_vault_and_key_lie_beside_the_log(self, tmp_path):
        """A log with a path gets both files at first use, and finds them again."""
        log = tmp_path / "log.db"
        configured = RouterSettings(database_url=str(log))
        vault = SealedVault.open(configured)
        vault.seal("k1", MATERIAL)
        vault.close()
        assert vault_path_beside(log).exists()
        assert key_path_beside(log).exists()
        assert SealedVault.open(configured).unseal("k1") == MATERIAL

    def test_an_encryption_key_that_is_set_makes_no_file(self, tmp_path):
        """Whoever brings a key keeps it."""
        log = tmp_path / "log.db"
        SealedVault.open(RouterSettings(database_url=str(log), encryption_key=MASTER_KEY.hex())).close()
        assert not key_path_beside(log).exists()

    def test_in_memory_nothing_is_written(self, tmp_path, monkeypatch):
        """A library without a path leaves no file."""
        monkeypatch.chdir(tmp_path)
        SealedVault.open(RouterSettings()).seal("k1", MATERIAL)
        assert not list(tmp_path.iterdir())


class TestSilence:
    def test_no_repr_tells_a_secret(self, vault):
        """Printing the vault or its parts shows where it lies, not what it holds."""
        vault.seal("k1", MATERIAL)
        shown = f"{vault!r} {vault._envelope!r} {vault._store!r} {vault!s}"
        assert MATERIAL not in shown
        assert MASTER_KEY.hex() not in shown
        assert "log.db.vault" in shown

    def test_no_attribute_holds_the_master_key(self, vault):
        """It lives in the ciphers' own memory only."""
        held = [getattr(vault._envelope, name) for name in vault._envelope.__slots__]
        assert MASTER_KEY not in held
        assert not any(isinstance(value, bytes | str) for value in held)

    def test_closing_forgets_what_was_open(self, vault):
        """The port given back holds no material."""
        vault.seal("k1", MATERIAL)
        vault.close()
        assert MATERIAL not in str(vars(vault))

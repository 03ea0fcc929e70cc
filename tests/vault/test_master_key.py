"""Where the master key comes from, and what is refused."""

import base64
import contextlib
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apikeyrouter.adapters.vault import (
    key_path_beside,
    load_master_key,
    parse_master_key,
    vault_path_beside,
)
from apikeyrouter.domain.models.system_error import ConfigurationError

KEY = bytes(range(200, 232))
KEYS = st.binary(min_size=32, max_size=32)


def load(explicit=None, key_file=None, log_path=None):
    return load_master_key(explicit=explicit, key_file=key_file, log_path=log_path)


class TestForms:
    @given(key=KEYS)
    def test_every_usual_form_gives_the_same_bytes(self, key):
        """Base64 in both alphabets, with and without padding, and hex in both cases."""
        standard, urlsafe = base64.b64encode(key).decode(), base64.urlsafe_b64encode(key).decode()
        forms = [standard, urlsafe, standard.rstrip("="), urlsafe.rstrip("="), key.hex(), key.hex().upper()]
        assert {parse_master_key(form) for form in forms} == {key}

    def test_a_fernet_key_is_accepted(self):
        """The predecessor's keys are base64 of 32 bytes, and go on working."""
        from cryptography.fernet import Fernet

        key = Fernet.generate_key()
        assert parse_master_key(key.decode()) == base64.urlsafe_b64decode(key)

    def test_space_around_it_does_not_matter(self):
        """Files end with a line end."""
        assert parse_master_key(f" {KEY.hex()}\n") == KEY

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "correct horse battery staple",
            KEY.hex()[:-1],
            KEY.hex() + "0",
            base64.b64encode(KEY[:-1]).decode(),
            base64.b64encode(KEY + b"x").decode(),
            base64.b64encode(KEY).decode() + "!",
            base64.b64encode(KEY).decode()[:20] + "\n" + base64.b64encode(KEY).decode()[20:],
            "g" * 64,
            "é" * 44,
            "\udc80" * 44,
        ],
    )
    def test_anything_else_is_refused_and_says_how_to_make_one(self, text):
        """The message holds the recipe and the setting's name, never the text."""
        with pytest.raises(ConfigurationError, match="urlsafe_b64encode") as refused:
            parse_master_key(text)
        assert "APIKEYROUTER_ENCRYPTION_KEY" in refused.value.message
        assert not text or text not in refused.value.message

    def test_the_recipe_works(self):
        """Whoever runs what the message says gets a key that is accepted."""
        with pytest.raises(ConfigurationError) as refused:
            parse_master_key("")
        recipe = refused.value.message.partition('-c "')[2].removesuffix('"')
        made = []
        exec(recipe, {"print": made.append})  # noqa: S102 - our own message
        assert len(parse_master_key(made[0])) == 32

    @given(text=st.text(max_size=100))
    def test_no_text_breaks_the_parser(self, text):
        """Any text is either 32 bytes or a clear refusal."""
        with contextlib.suppress(ConfigurationError):
            assert len(parse_master_key(text)) == 32


class TestSources:
    def test_a_setting_wins_over_the_file_beside_the_log(self, tmp_path):
        """What is said is done, and no file is made."""
        log = tmp_path / "log.db"
        assert load(explicit=KEY.hex(), log_path=log) == KEY
        assert not key_path_beside(log).exists()

    def test_a_named_file_is_read(self, tmp_path):
        """Mounted secrets may be readable for a group: their mode is the mount's business."""
        file = tmp_path / "secret"
        file.write_text(f"{KEY.hex()}\n")
        file.chmod(0o440)
        assert load(key_file=file, log_path=tmp_path / "log.db") == KEY

    def test_two_sources_at_once_are_refused(self, tmp_path):
        """Which one was meant is not guessed."""
        with pytest.raises(ConfigurationError, match="both set"):
            load(explicit=KEY.hex(), key_file=tmp_path / "secret")

    def test_a_named_file_that_is_missing_is_refused(self, tmp_path):
        """It is not made: whoever names a file has one."""
        with pytest.raises(ConfigurationError, match="secret cannot be read"):
            load(key_file=tmp_path / "secret", log_path=tmp_path / "log.db")
        assert not list(tmp_path.iterdir())

    def test_a_file_without_a_key_is_refused_by_its_name(self, tmp_path):
        """Its contents are not shown."""
        file = tmp_path / "secret"
        file.write_bytes(b"not-a-key-but-perhaps-a-password\xff")
        with pytest.raises(ConfigurationError, match=str(file)) as refused:
            load(key_file=file)
        assert "perhaps" not in refused.value.message

    def test_in_memory_each_router_has_its_own(self):
        """Nothing is written, nothing is shared."""
        assert load() != load()


class TestOwnFile:
    def test_it_is_made_once_for_the_owner_alone_and_found_again(self, tmp_path):
        """The second start reads what the first one made, whatever the umask was."""
        log = tmp_path / "log.db"
        before = os.umask(0)
        try:
            made = load(log_path=log)
        finally:
            os.umask(before)
        assert stat.S_IMODE(key_path_beside(log).stat().st_mode) == 0o600
        assert load(log_path=log) == made
        assert len(made) == 32

    def test_an_existing_file_is_never_written_over(self, tmp_path):
        """Even where two starts race for it."""
        from apikeyrouter.adapters.vault.master_key import _make

        file = tmp_path / "log.db.key"
        file.write_text(KEY.hex())
        with pytest.raises(ConfigurationError, match="cannot be made"):
            _make(file)
        assert file.read_text() == KEY.hex()

    def test_a_file_that_others_may_read_is_refused(self, tmp_path):
        """The message says what to type."""
        log = tmp_path / "log.db"
        load(log_path=log)
        key_path_beside(log).chmod(0o640)
        with pytest.raises(ConfigurationError, match="chmod 600"):
            load(log_path=log)

    def test_a_vault_whose_key_file_is_gone_gets_no_new_key(self, tmp_path):
        """A fresh key could open nothing; the message asks for the old one."""
        log = tmp_path / "log.db"
        vault_path_beside(log).touch()
        with pytest.raises(ConfigurationError, match="bring it back"):
            load(log_path=log)
        assert not key_path_beside(log).exists()

    def test_a_directory_that_cannot_be_written_is_named(self, tmp_path):
        """The start is refused with the path."""
        with pytest.raises(ConfigurationError, match="nowhere"):
            load(log_path=tmp_path / "nowhere" / "log.db")

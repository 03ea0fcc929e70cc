"""Settings: what is unknown or unusable stops the start with its name; secrets are never shown."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apikeyrouter.domain.models.system_error import ConfigurationError
from apikeyrouter.settings import RouterSettings

SECRET = "mgmt-Zk3Jq8Wv1Lx9Tn5Rb7Yd2Hm6"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in list(os.environ):
        if name.upper().startswith("APIKEYROUTER_"):
            monkeypatch.delenv(name)


def refusal(**values):
    with pytest.raises(ConfigurationError) as refused:
        RouterSettings(**values)
    return refused.value


class TestDefaults:
    def test_a_fresh_start_is_closed_and_strict(self):
        """Without any setting: loopback, no management key, every event durable, log in memory."""
        fresh = RouterSettings()
        assert (fresh.host, fresh.port, fresh.management_api_key) == ("127.0.0.1", 8000, None)
        assert (fresh.durability, fresh.synchronous) == ("strict", "FULL")
        assert fresh.database_path is None
        assert (fresh.max_attempts, fresh.max_body_bytes) == (10, 32 * 1024 * 1024)
        assert fresh.objective == "fairness"

    def test_a_server_keeps_its_log_unless_memory_is_asked_for(self):
        """A library forgets by default, a server does not."""
        assert RouterSettings.for_server().database_path.name == "apikeyrouter.db"
        assert RouterSettings.for_server(database_url=":memory:").database_path is None

    def test_settings_cannot_be_changed(self):
        """What was checked at the start stays what it was."""
        with pytest.raises(ValueError, match="frozen"):
            RouterSettings().port = 9000


class TestSources:
    def test_the_environment_is_read(self, monkeypatch):
        """Each setting has one variable with the prefix."""
        monkeypatch.setenv("APIKEYROUTER_PORT", "8123")
        monkeypatch.setenv("APIKEYROUTER_MANAGEMENT_API_KEY", SECRET)
        read = RouterSettings()
        assert read.port == 8123
        assert read.management_api_key.get_secret_value() == SECRET

    def test_an_argument_wins_over_the_environment(self, monkeypatch):
        """The nearer word counts."""
        monkeypatch.setenv("APIKEYROUTER_PORT", "8123")
        assert RouterSettings(port=8124).port == 8124

    def test_no_file_is_read_behind_ones_back(self, tmp_path, monkeypatch):
        """A .env in the working directory belongs to somebody else."""
        (tmp_path / ".env").write_text("APIKEYROUTER_PORT=8123\n")
        monkeypatch.chdir(tmp_path)
        assert RouterSettings().port == 8000

    @pytest.mark.parametrize(
        ("name", "text", "value"),
        [
            ("log_level", "WARNING", "warning"),
            ("synchronous", "normal", "NORMAL"),
            ("durability", "Before_Dispatch", "before_dispatch"),
            ("log_format", "CONSOLE", "console"),
            ("objective", "Cost", "cost"),
        ],
    )
    def test_words_from_closed_lists_may_be_written_in_any_case(self, name, text, value):
        """As operators write them."""
        assert getattr(RouterSettings(**{name: text}), name) == value


class TestUnknown:
    def test_an_unknown_variable_is_refused_with_the_nearest_known_one(self, monkeypatch):
        """A typo is not a setting that silently does nothing."""
        monkeypatch.setenv("APIKEYROUTER_DURABILTY", "strict")
        refused = refusal()
        assert "APIKEYROUTER_DURABILTY" in refused.message
        assert "did you mean APIKEYROUTER_DURABILITY?" in refused.message
        assert refused.param == "APIKEYROUTER_DURABILTY"

    def test_case_does_not_hide_a_variable(self, monkeypatch):
        """Variables are read in any case, so they are checked in any case."""
        monkeypatch.setenv("apikeyrouter_prot", "1")
        assert "did you mean APIKEYROUTER_PORT?" in refusal().message

    def test_its_value_is_not_shown(self, monkeypatch):
        """A misspelt secret is still a secret."""
        monkeypatch.setenv("APIKEYROUTER_MANAGMENT_API_KEY", SECRET)
        assert SECRET not in refusal().message

    def test_nothing_near_lists_what_is_known(self, monkeypatch):
        """Whoever is far off sees all names."""
        monkeypatch.setenv("APIKEYROUTER_ZZZZZZZZZZZZ", "1")
        assert "APIKEYROUTER_DATABASE_URL" in refusal().message

    def test_an_unknown_argument_is_refused_with_the_nearest_known_one(self):
        """The same for arguments."""
        refused = refusal(databse_url="x")
        assert "'databse_url'; did you mean database_url?" in refused.message

    @pytest.mark.parametrize("name", ["_env_file", "_secrets_dir", "model_config", "_arguments"])
    def test_side_doors_of_the_library_are_unknown_arguments(self, name):
        """Only settings are settings."""
        assert repr(name) in refusal(**{name: "x"}).message

    @pytest.mark.parametrize("name", ["SERVICE_HOST", "PORT_8000_TCP_ADDR"])
    def test_variables_that_kubernetes_injects_are_explained(self, monkeypatch, name):
        """A service named apikeyrouter makes them; the message says how to be rid of them."""
        monkeypatch.setenv(f"APIKEYROUTER_{name}", "10.0.0.1")
        assert "enableServiceLinks: false" in refusal().message

    @pytest.mark.parametrize("value", ["", "  "])
    def test_an_empty_variable_is_refused(self, monkeypatch, value):
        """An empty database URL would put the log in memory without a word."""
        monkeypatch.setenv("APIKEYROUTER_DATABASE_URL", value)
        assert "APIKEYROUTER_DATABASE_URL is empty" in refusal().message


class TestUnusable:
    @pytest.mark.parametrize(
        ("name", "value", "allowed"),
        [
            ("port", "eighty", "integer"),
            ("port", 65536, "65535"),
            ("durability", "sometimes", "'strict', 'before_dispatch', 'before_response' or 'async'"),
            ("synchronous", "OFF", "'FULL' or 'NORMAL'"),
            ("objective", "luck", "'cost', 'reliability', 'fairness', 'latency' or 'quality'"),
            ("log_level", "loud", "'debug'"),
            ("request_timeout_s", "10m", "number"),
            ("request_timeout_s", 0, "greater than 0"),
            ("idle_timeout_s", "inf", ""),
            ("connect_timeout_s", "nan", ""),
            ("first_byte_timeout_s", 1e9, "86400"),
            ("max_attempts", 0, "greater than or equal to 1"),
            ("max_attempts", 101, "100"),
            ("max_body_bytes", -1, "1"),
            ("max_log_bytes", 1, "1048576"),
            ("host", "two words", "host name"),
        ],
    )
    def test_setting_value_and_what_is_allowed_are_named(self, name, value, allowed):
        """One message is enough to mend it."""
        refused = refusal(**{name: value})
        assert f"{name}={value!r} is not usable" in refused.message
        assert allowed in refused.message
        assert refused.param == name

    def test_from_the_environment_the_variable_is_named(self, monkeypatch):
        """As the operator knows it."""
        monkeypatch.setenv("APIKEYROUTER_PORT", "eighty")
        assert "APIKEYROUTER_PORT='eighty' is not usable" in refusal().message

    def test_all_faults_are_told_at_once(self):
        """Nobody mends them one start at a time."""
        told = refusal(port=-1, max_attempts=0).message
        assert "port=-1" in told
        assert "max_attempts=0" in told

    @pytest.mark.parametrize("value", ["", "two words", "line\nend", "schlüssel-ä", 12345])
    def test_a_management_key_that_no_header_can_carry_is_refused_unseen(self, value):
        """The name stands in the message, the value does not."""
        refused = refusal(management_api_key=value)
        assert "management_api_key is not usable" in refused.message
        assert not value or str(value) not in refused.message

    def test_a_long_value_is_cut(self):
        """A message stays readable whatever was pasted."""
        assert len(refusal(log_format="x" * 100_000).message) < 300

    @given(value=st.one_of(st.text(max_size=30), st.integers(), st.floats(), st.none(), st.lists(st.text())))
    def test_no_value_escapes_as_another_error(self, value):
        """Whatever is given, either it is used or a ConfigurationError says why not."""
        for name in RouterSettings.model_fields:
            try:
                RouterSettings(**{name: value})
            except ConfigurationError as refused:
                assert refused.param == name  # noqa: PT017 - both ends are right


class TestSecrets:
    def test_no_view_of_the_settings_shows_them(self, monkeypatch):
        """Not repr, not a dump, not describe."""
        monkeypatch.setenv("APIKEYROUTER_MANAGEMENT_API_KEY", SECRET)
        read = RouterSettings(encryption_key=SECRET)
        shown = f"{read!r} {read} {read.model_dump()} {read.model_dump_json()} {read.describe()}"
        assert SECRET not in shown

    def test_describe_tells_where_each_value_came_from(self, monkeypatch):
        """For the doctor: default, env or argument; of a secret only whether it is set."""
        monkeypatch.setenv("APIKEYROUTER_MANAGEMENT_API_KEY", SECRET)
        monkeypatch.setenv("APIKEYROUTER_PORT", "8123")
        described = {entry.name: entry for entry in RouterSettings(host="::1").describe()}
        assert described["host"][1:] == ("APIKEYROUTER_HOST", "::1", "argument")
        assert described["port"][2:] == (8123, "env")
        assert described["objective"][2:] == ("fairness", "default")
        assert described["management_api_key"][2:] == ("set", "env")
        assert described["encryption_key"][2:] == ("not set", "default")
        assert set(described) == set(RouterSettings.model_fields)


class TestExposure:
    @pytest.mark.parametrize(
        "host", ["127.0.0.1", "127.8.9.10", "::1", "localhost", "LOCALHOST", "::ffff:127.0.0.1"]
    )
    def test_loopback_needs_no_management_key(self, host):
        """Whoever is on this machine may manage it."""
        RouterSettings(host=host).check_exposure()

    @pytest.mark.parametrize(
        "host",
        [
            "0.0.0.0",  # noqa: S104
            "::",
            "192.168.1.5",
            "::ffff:10.0.0.1",
            "example.org",
            "localhost.example.org",
            "127.1",
            "0",
        ],
    )
    def test_any_other_host_without_one_is_refused(self, host):
        """The message names the host and says what to do."""
        with pytest.raises(ConfigurationError, match="APIKEYROUTER_MANAGEMENT_API_KEY") as refused:
            RouterSettings(host=host).check_exposure()
        assert host in refused.value.message

    def test_with_a_management_key_any_host_may_be_bound(self):
        """The choice is the operator's."""
        RouterSettings(host="0.0.0.0", management_api_key=SECRET).check_exposure()  # noqa: S104


def test_the_published_import_path_is_the_same_class():
    """Snippets of the migration guide import it from there."""
    from apikeyrouter.infrastructure.config.settings import RouterSettings as Published

    assert Published is RouterSettings


def test_an_uncaught_refusal_shows_no_secret():
    """The traceback of a start that failed is pasted into chats."""
    environment = {**os.environ, "APIKEYROUTER_MANAGEMENT_API_KEY": f"{SECRET} x", "APIKEYROUTER_PORT": "x"}
    code = "from apikeyrouter.settings import RouterSettings; RouterSettings()"
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert "APIKEYROUTER_MANAGEMENT_API_KEY is not usable" in ran.stderr
    assert SECRET not in ran.stderr

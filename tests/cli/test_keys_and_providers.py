"""Keys and providers from the command line, without a server: this process opens the log itself."""

import pytest

MATERIAL = "sk-test-material-of-a-key"


@pytest.fixture
def openai(commands):
    commands.data("providers", "add", "openai", "--model", "gpt-4o-mini,0.15,0.60", "--model", "gpt-x")
    return commands


class TestProviders:
    def test_prices_reach_the_log_exactly(self, openai):
        """A price in dollars per million tokens is kept in nano-dollars, and a model without one has none."""
        [provider] = openai.data("providers", "list")
        priced, unpriced = provider["models"]
        assert priced["input_nano_usd_per_mtok"] == 150_000_000
        assert priced["output_nano_usd_per_mtok"] == 600_000_000
        assert "input_nano_usd_per_mtok" not in unpriced

    def test_a_table_shows_them(self, openai):
        """Without --json people get a table, where a missing price is not a zero, nor said to be none."""
        shown = openai.run("providers", "list").stdout
        assert "$0.1500" in shown
        assert "prices list" in " ".join(shown.split())

    def test_a_second_time_is_refused(self, openai):
        """Registering an id again would silently drop its prices, so it takes --overwrite."""
        again = openai.run("providers", "add", "openai")
        assert again.exit_code == 1
        assert "registered already" in again.stderr
        assert openai.data("providers", "add", "openai", "--overwrite")["models"] == []

    @pytest.mark.parametrize("model", ["gpt,1", "gpt,1,2,3"])
    def test_a_half_price_is_a_usage_error(self, commands, model):
        """A model has both prices or none."""
        result = commands.run("providers", "add", "openai", "--model", model)
        assert result.exit_code == 2
        assert "NAME,INPUT,OUTPUT" in result.stderr

    def test_an_unusable_price_is_refused_in_words(self, commands):
        """What the API refuses, the command line tells in a paragraph."""
        result = commands.run("providers", "add", "openai", "--model", "gpt,cheap,1")
        assert result.exit_code == 1
        assert "input_usd_per_mtok" in result.stderr
        assert "Traceback" not in result.stderr


class TestKeys:
    def test_a_key_from_standard_input(self, openai):
        """The material comes through standard input; what is declared comes from options."""
        arguments = ("--label", "main", "--rpm", "50", "--model", "gpt-x")
        key = openai.data("keys", "add", "openai", "--stdin", *arguments, stdin=f"{MATERIAL}\n")
        assert key["state"] == "available"
        assert key["metadata"] == {"label": "main", "rpm": 50, "models": ["gpt-x"]}

    def test_a_key_from_the_environment(self, openai):
        """The material may come from a variable that the user names."""
        openai.data("keys", "add", "openai", "--env", "MY_KEY", MY_KEY=MATERIAL)
        assert len(openai.data("keys", "list")) == 1

    def test_a_key_at_the_prompt_is_not_repeated(self, openai, monkeypatch):
        """At a terminal the key is asked for, and what is typed is not shown."""
        monkeypatch.setattr("apikeyrouter.interfaces.cli.key_material.typer.prompt", _typed)
        monkeypatch.setattr("apikeyrouter.interfaces.cli.key_material.is_terminal", lambda: True)
        result = openai.run("keys", "add", "openai")
        assert result.exit_code == 0, result.output
        assert MATERIAL not in result.output

    @pytest.mark.parametrize(
        "arguments",
        [
            ("keys", "add", "openai", MATERIAL),
            ("keys", "rotate", "some-id", MATERIAL),
            ("keys", "add", "openai", "--env", MATERIAL),
        ],
    )
    def test_a_key_among_the_arguments_is_refused_and_not_repeated(self, openai, arguments):
        """Arguments are readable for every user of the machine; the refusal must not repeat the key."""
        result = openai.run(*arguments)
        assert result.exit_code == 2
        assert MATERIAL not in result.output

    def test_without_a_terminal_nothing_is_guessed(self, openai):
        """A script that forgot --stdin is told so, instead of hanging or registering an empty key."""
        result = openai.run("keys", "add", "openai")
        assert result.exit_code == 2
        assert "--stdin" in result.stderr

    def test_the_same_material_twice(self, openai):
        """A key is recognised by its fingerprint, and the refusal names the key that holds it."""
        key = openai.data("keys", "add", "openai", "--stdin", stdin=MATERIAL)
        again = openai.run("keys", "add", "openai", "--stdin", stdin=MATERIAL)
        assert again.exit_code == 1
        assert key["id"] in again.stderr
        assert MATERIAL not in again.output

    def test_its_life(self, openai):
        """Each act leaves an event; a revoked key stays revoked."""
        key_id = openai.data("keys", "add", "openai", "--stdin", stdin=MATERIAL)["id"]
        assert openai.data("keys", "disable", key_id)["state"] == "disabled"
        assert openai.data("keys", "enable", key_id)["state"] == "available"
        openai.data("keys", "rotate", key_id, "--stdin", stdin=f"{MATERIAL}-new")
        assert openai.data("keys", "revoke", key_id, "--yes")["state"] == "revoked"
        assert openai.run("keys", "enable", key_id).exit_code == 1
        assert [event["name"] for event in openai.data("keys", "show", key_id)["events"]] == [
            "key.registered.v1",
            "key.state_changed.v1",
            "key.state_changed.v1",
            "key.material_rotated.v1",
            "key.revoked.v1",
        ]

    def test_revoking_asks_first(self, openai):
        """What cannot be undone is asked for, and a no leaves the key as it is."""
        key_id = openai.data("keys", "add", "openai", "--stdin", stdin=MATERIAL)["id"]
        assert openai.run("keys", "revoke", key_id, stdin="n\n").exit_code == 1
        assert openai.data("keys", "show", key_id)["state"] == "available"

    def test_an_unknown_key(self, openai):
        """An id that nobody has is refused, whatever it holds."""
        for arguments in (("show", "nobody"), ("disable", "../keys"), ("enable", "a/b?c#d")):
            result = openai.run("keys", *arguments)
            assert result.exit_code == 1
            assert result.stderr.startswith("apikeyrouter: ")


class TestImport:
    def test_numbered_variables_in_their_order(self, openai):
        """The plain variable and the numbered ones become keys named after them; others are left alone."""
        variables = {
            "OPENAI_API_KEY_10": f"{MATERIAL}-10",
            "OPENAI_API_KEY_2": f"{MATERIAL}-2",
            "OPENAI_API_KEY": MATERIAL,
            "OPENAI_API_KEY_OLD": f"{MATERIAL}-old",
        }
        imported = openai.data("keys", "import-env", **variables)
        names = [key["metadata"]["label"] for key in openai.data("keys", "list")]
        assert names == [told["variable"] for told in imported]
        assert names == ["OPENAI_API_KEY", "OPENAI_API_KEY_2", "OPENAI_API_KEY_10"]

    def test_again(self, openai):
        """Importing twice registers nothing twice, and is no failure."""
        openai.data("keys", "import-env", OPENAI_API_KEY=MATERIAL)
        [told] = openai.data("keys", "import-env", OPENAI_API_KEY=MATERIAL)
        assert told["key_id"] is None
        assert len(openai.data("keys", "list")) == 1

    def test_nothing_to_import(self, openai):
        """No variable is a failure that names what was looked for."""
        result = openai.run("keys", "import-env")
        assert result.exit_code == 1
        assert "OPENAI_API_KEY" in result.stderr


def _typed(*_arguments, **options):
    assert options["hide_input"]
    return MATERIAL

"""What the redactor lets through, and what not."""

import json
from urllib.parse import quote

import pytest
from canaries import ALL, SHAPED, runs_left
from hypothesis import given
from hypothesis import strategies as st

from apikeyrouter.adapters.telemetry import redaction
from apikeyrouter.adapters.telemetry.redaction import MASK, Redactor
from apikeyrouter.limits import MOST_LOGGED_CHARS, MOST_LOGGED_DEPTH, MOST_LOGGED_ITEMS

KEY = "Vt8Zr3Xw6Qk1Lm9Pn4Bj7Hg2Fd5Sc"
MATERIALS = st.text(st.characters(exclude_categories=["Cs"]), min_size=8, max_size=60)
ANY_TEXT = st.text(st.characters(exclude_categories=()))
SURROUNDINGS = st.text(max_size=40)


class TestRemembered:
    @pytest.mark.parametrize("canary", ALL.values(), ids=ALL)
    @pytest.mark.parametrize(
        "told",
        [
            lambda key: key,
            lambda key: f"the upstream said: key {key} is wrong",
            lambda key: f"{key}{key}",
            repr,
            lambda key: repr({"headers": [("x", key)]}),
            lambda key: repr(key.encode()),
            lambda key: json.dumps({"error": {"message": key}}),
            lambda key: json.dumps({"error": key}, ensure_ascii=False),
            lambda key: f"https://host/path?key={quote(key, safe='')}&x=1",
            ascii,
        ],
        ids=[
            "bare",
            "prose",
            "twice",
            "repr",
            "nested",
            "bytes",
            "json",
            "json utf-8",
            "url",
            "ascii",
        ],
    )
    def test_a_remembered_key_is_masked_in_every_escaping(self, redactor, canary, told):
        """Texts quote each other: reprs in JSON, bytes in reprs, keys in addresses."""
        redactor.remember(canary)
        shown = redactor.redact(told(canary))
        assert MASK in shown
        assert not runs_left(canary, shown)

    @given(key=MATERIALS, before=SURROUNDINGS, after=SURROUNDINGS)
    def test_any_text_around_any_key_loses_the_key(self, key, before, after):
        """Wherever it stands, the key is gone."""
        redactor = Redactor()
        redactor.remember(key)
        shown = redactor.redact(f"{before}{key}{after}")
        assert not any(key in piece for piece in shown.split(MASK))

    @given(keys=st.lists(MATERIALS, min_size=2, max_size=5), glue=SURROUNDINGS)
    def test_many_keys_side_by_side_are_all_masked(self, keys, glue):
        """Also where they share parts or touch each other."""
        redactor = Redactor()
        for key in keys:
            redactor.remember(key)
        shown = redactor.redact(glue.join(keys))
        assert not any(key in piece for piece in shown.split(MASK) for key in keys)

    @pytest.mark.parametrize("length", [11, 15, len(KEY) - 1])
    def test_a_part_of_a_key_is_masked_too(self, redactor, length):
        """Libraries cut what they quote; any eleven characters in a row are recognised."""
        redactor.remember(KEY)
        for start in range(len(KEY) - length + 1):
            assert redactor.redact(f"<{KEY[start : start + length]}>") == f"<{MASK}>"

    def test_keys_with_a_common_beginning_are_all_recognised(self, redactor):
        """A prefix that many keys share belongs to the first, the rest is found for each."""
        keys = [f"prefix-of-all-{number}-{KEY[number:]}" for number in range(10)]
        for key in keys:
            redactor.remember(key)
        assert redactor.redact(" ".join(keys)).replace(MASK, "").split() == []

    def test_what_stands_around_a_key_stays(self, redactor):
        """Only the key is masked."""
        redactor.remember(KEY)
        assert redactor.redact(f"a{KEY}b and {KEY}.") == f"a{MASK}b and {MASK}."

    def test_placeholders_too_short_to_be_keys_are_not_masked(self, redactor):
        """Local servers take any key; masking "EMPTY" would make logs unreadable."""
        redactor.remember("EMPTY")
        assert redactor.redact("queue EMPTY") == "queue EMPTY"

    def test_the_older_half_is_dropped_beyond_the_bound(self, redactor, monkeypatch):
        """Memory stays bounded; the newest keys are masked for certain."""
        monkeypatch.setattr(redaction, "MOST_REMEMBERED_MATERIALS", 4)
        keys = [f"{number:030d}" for number in range(100, 110)]
        for key in keys:
            redactor.remember(key)
        assert len(redactor._materials) <= 4
        assert redactor.redact(keys[-1]) == MASK

    def test_the_redactor_does_not_show_what_it_remembers(self, redactor):
        """Its repr counts."""
        redactor.remember(KEY)
        assert repr(redactor) == "Redactor(1 materials)"


class TestShapes:
    @pytest.mark.parametrize("canary", SHAPED.values(), ids=SHAPED)
    def test_what_looks_like_a_key_is_masked_unseen(self, redactor, canary):
        """A key that was never registered, in prose and between quotes."""
        for told in (
            canary,
            f"bad key {canary}, sorry",
            f'{{"key": "{canary}"}}',
            f"Authorization: Bearer {canary}",
        ):
            assert not runs_left(canary, redactor.redact(told)), told

    @pytest.mark.parametrize(
        "told",
        [
            f"Authorization: Bearer {KEY}",
            f"authorization='Bearer {KEY}'",
            f"bearer  {KEY}",
            f"(b'Authorization', b'Bearer {KEY}')",
            f'{{"api_key": "{KEY}"}}',
            f"x-api-key: {KEY}",
            f"x-goog-api-key={KEY}",
            f"api_key = {KEY}",
            f"OPENAI_API_KEY={KEY} serve",
            f"password={KEY}",
            f"client_secret: '{KEY}'",
            f"token={KEY}&next=1",
            f"https://user:{KEY}@host/path",
            f"postgresql://router:{KEY}@db.example.org/log",
            f"-----BEGIN RSA PRIVATE KEY-----\n{KEY}\n-----END RSA PRIVATE KEY-----",
            f"-----BEGIN PRIVATE KEY-----\n{KEY}",
        ],
    )
    def test_what_a_text_calls_a_secret_is_masked(self, redactor, told):
        """The name before it is enough, whatever its shape."""
        assert not runs_left(KEY, redactor.redact(told))

    @pytest.mark.parametrize(
        "told",
        [
            "request_completed",
            "0193577b1e2d7abc8def0123456789ab",
            "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "2026-11-23T10:10:10.123456Z",
            "gpt-4o-mini-2024-07-18",
            "claude-sonnet-4-5-20250929",
            "task-management and risk-assessment",
            "https://api.openai.com/v1/chat/completions",
            "input_tokens: 1234567, output_tokens=7654321",
            "fingerprint=ab12cd34ef56ab12cd34ef56ab12cd34",
            "key_id=0193577b1e2d7abc8def0123456789ab",
            "bearer of bad news",
        ],
    )
    def test_ordinary_log_text_stays_as_it_is(self, redactor, told):
        """Ids, hashes, models, times and addresses are what logs are for."""
        assert redactor.redact(told) == told


class TestCleaning:
    @pytest.mark.parametrize(
        "name",
        [
            "authorization",
            "Authorization",
            "api_key",
            "apiKey",
            "x-api-key",
            "x_goog_api_key",
            "key_material",
            "client_secret",
            "access_token",
            "password",
            "Set-Cookie",
            "encryption_key",
        ],
    )
    def test_a_field_with_a_secret_name_is_masked_whatever_it_holds(self, redactor, name):
        """Short, odd or nested values too."""
        for value in ("x", 7, ["a"], {"b": "c"}):
            assert redactor.clean_fields({name: value}) == {name: MASK}

    @pytest.mark.parametrize(
        "name", ["key_id", "input_tokens", "tokens", "fingerprint", "event", "max_tokens"]
    )
    def test_other_fields_keep_their_values(self, redactor, name):
        """Names that only look alike are not secret."""
        assert redactor.clean_fields({name: "a value"}) == {name: "a value"}

    def test_secrets_are_found_in_names_lists_and_objects(self, redactor):
        """At any depth, in keys and in reprs."""
        redactor.remember(KEY)

        class Held:
            def __repr__(self):
                return f"Held({KEY})"

        cleaned = redactor.clean_fields(
            {
                KEY: 1,
                "list": [KEY, (KEY, {KEY})],
                "deep": {"er": {KEY: KEY}},
                "object": Held(),
                "bytes": KEY.encode(),
            }
        )
        assert KEY not in json.dumps(cleaned)

    def test_an_object_that_cannot_be_shown_is_named(self, redactor):
        """A broken repr does not break the line."""

        class Broken:
            def __repr__(self):
                raise RuntimeError(KEY)

        assert redactor.clean(Broken()) == "<Broken>"

    def test_everything_is_bounded(self, redactor):
        """Length, breadth, depth and the size of numbers."""
        deep = []
        for _ in range(100):
            deep = [deep]
        assert len(redactor.clean("x" * 10_000_000)) == MOST_LOGGED_CHARS
        assert len(redactor.clean(list(range(10_000)))) == MOST_LOGGED_ITEMS
        assert len(redactor.clean_fields({str(n): n for n in range(10_000)})) == MOST_LOGGED_ITEMS
        assert json.dumps(redactor.clean(deep)).count("[") == MOST_LOGGED_DEPTH
        assert len(redactor.clean(1 << 4_000_000)) <= MOST_LOGGED_CHARS

    def test_a_key_on_the_cutting_edge_is_not_left_in_half(self, redactor):
        """Cutting comes after masking."""
        redactor.remember(KEY)
        for shift in range(len(KEY) + 1):
            cleaned = redactor.clean("." * (MOST_LOGGED_CHARS - shift) + KEY)
            assert not runs_left(KEY, cleaned, length=4)

    def test_a_lone_surrogate_is_written_as_an_escape(self, redactor):
        """Python's texts may hold what no encoding can."""
        assert redactor.clean("a\ud800b") == "a\\ud800b"

    @given(
        value=st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.binary(),
            lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT | st.integers(), inner),
            max_leaves=20,
        )
    )
    def test_whatever_comes_out_can_be_written_as_json(self, value):
        """Lone surrogates, huge numbers and odd keys included."""
        import msgspec

        msgspec.json.encode(Redactor().clean(value))

"""Scripts are read strictly, hide their keys, and say when a fault strikes."""

import contextlib
import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apikeyrouter.errors import ConfigurationError
from apikeyrouter.interfaces.scripted_provider import (
    ANY_KEY,
    Fault,
    FaultKind,
    KeyScript,
    Script,
    parse_script,
    read_script,
)
from apikeyrouter.interfaces.scripted_provider.app import credentials_in

SECRET = "sk-canary-0123456789"


class TestReading:
    def test_a_whole_script(self):
        """Every part of a script is read from JSON."""
        script = parse_script(
            b'{"keys": {"alpha": {"key": "sk-a", "rpm": 60, "latency_ms": [5, 10.5], "faults":'
            b' [{"kind": "status", "status": 503, "probability": 0.5, "retry_after": 7}]}},'
            b' "models": {"m": {"input_nano_usd_per_mtok": 150}}, "seed": 7}'
        )
        assert script.keys["alpha"].latency_range_ms == (5, 10.5)
        assert script.keys["alpha"].faults == (
            Fault(kind=FaultKind.Status, status=503, probability=0.5, retry_after=7),
        )
        assert script.models["m"].offer("m").input_nano_usd_per_mtok == 150

    @pytest.mark.parametrize(
        ("text", "place"),
        [
            (b"{", "not JSON"),
            (b"\xff", "not JSON"),
            (b"[]", "Expected `object`"),
            (b'{"kyes": {}}', "kyes"),
            (
                b'{"keys": {"alpha": {"key": "k", "rmp": 1}}}',
                "keys.alpha: Object contains unknown field `rmp`",
            ),
            (b'{"keys": {"alpha": {"key": "k", "rpm": 0}}}', "keys.alpha"),
            (b'{"keys": {"alpha": {}}}', "keys.alpha has no `key`"),
            (b'{"keys": {"alpha": {"key": "k"}, "beta": {"key": "k"}}}', "same `key`"),
            (b'{"keys": {"alpha": {"key": "a b"}}}', "keys.alpha"),
            (b'{"keys": {"alpha": {"key": "k", "latency_ms": [9, 1]}}}', "latency_ms"),
            (b'{"keys": {"alpha": {"key": "k", "latency_ms": -1}}}', "latency_ms"),
            (b'{"keys": {"alpha": {"key": "k", "faults": [{"kind": "no"}]}}}', "keys.alpha"),
            (b'{"keys": {"alpha": {"key": "k", "faults": [{"kind": "status"}]}}}', "`status`"),
            (b'{"keys": {"alpha": {"key": "k", "faults": [{"kind": "html", "status": 500}]}}}', "`status`"),
            (b'{"keys": {"*": {}}}', "accept_any_key"),
            (b'{"models": {"m": {"price": 1}}}', "price"),
        ],
    )
    def test_what_is_wrong_is_named(self, text, place):
        """A wrong script is refused with the place of what is wrong."""
        with pytest.raises(ConfigurationError) as caught:
            parse_script(text)
        assert place in caught.value.message

    def test_a_missing_file_is_named(self, tmp_path):
        """A script that is not there is an error of configuration, not a traceback."""
        with pytest.raises(ConfigurationError, match=r"nowhere\.json"):
            read_script(tmp_path / "nowhere.json")

    @given(st.binary(max_size=200))
    def test_garbage_is_refused_in_words(self, text):
        """Any bytes are a script or a classified error."""
        with contextlib.suppress(ConfigurationError):
            assert isinstance(parse_script(text), Script)

    def test_reading_survives_the_garbage_collector(self):
        """A collection in the midst of building the types does not crash the process."""
        before = gc.get_threshold()
        gc.set_threshold(1)
        try:
            assert parse_script(b'{"keys": {"alpha": {"key": "k", "latency_ms": [1, 2]}}}').keys
        finally:
            gc.set_threshold(*before)


class TestHiding:
    def test_no_text_form_shows_a_key(self):
        """A script shows its keys in no text form."""
        script = Script(keys={"alpha": KeyScript(key=SECRET, rpm=5)})
        rich_form = script.keys["alpha"].__rich_repr__()
        texts = [repr(script), str(script), repr(script.keys["alpha"]), repr(rich_form)]
        assert not [text for text in texts if SECRET in text]
        assert "rpm" in repr(script)

    def test_an_error_shows_no_key(self):
        """A refusal of a script does not repeat the key that is wrong in it."""
        with pytest.raises(ConfigurationError) as caught:
            parse_script(f'{{"keys": {{"alpha": {{"key": "{SECRET}"}}, "beta": {{"key": "{SECRET}"}}}}}}')
        assert SECRET not in str(caught.value)

    def test_credentials_show_no_key(self):
        """What a client sent is not shown where it is kept."""
        credentials = credentials_in(
            [(b"authorization", b"bearer " + SECRET.encode()), (b"x-request-id", b"r1")]
        )
        assert credentials.key_sent == SECRET.encode()
        assert SECRET not in repr(credentials)
        assert "r1" in repr(credentials)


class TestWhenAFaultStrikes:
    @pytest.mark.parametrize(
        ("window", "struck"),
        [
            ({}, [0, 1, 2, 3, 4]),
            ({"first": 2}, [0, 1]),
            ({"after": 3}, [3, 4]),
            ({"after": 1, "first": 2}, [1, 2]),
        ],
    )
    def test_by_calls(self, window, struck):
        """`first` strikes so many calls, `after` spares so many before."""
        fault = Fault(kind=FaultKind.Html, **window)
        assert [calls for calls in range(5) if fault.strikes(calls, 0)] == struck

    def test_by_time(self):
        """A window of time strikes from its start to before its end."""
        fault = Fault(kind=FaultKind.Html, from_ms=10, until_ms=20)
        assert [ms for ms in (9, 10, 19, 20) if fault.strikes(0, ms)] == [10, 19]


def test_the_key_for_all_others_needs_no_material():
    """Where any key is accepted, the entry for them has no key of its own."""
    script = Script(accept_any_key=True, keys={ANY_KEY: KeyScript(rpm=1)})
    assert script.keys[ANY_KEY].rpm == 1

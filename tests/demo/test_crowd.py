"""The demo's clients: when they ask, and how much."""

import pytest

from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.interfaces.demo.crowd import asks


def test_squeezed_into_the_time_of_the_demo():
    """The first comes at once, the last when the time is over, and the order stays."""
    moments = [ask.at_s for ask in asks(200, 10.0, 1, None)]
    assert moments[0] == 0
    assert moments[-1] == pytest.approx(10.0)
    assert moments == sorted(moments)


def test_the_same_seed_makes_the_same_day():
    """A seed gives the same requests again; another gives others."""
    assert asks(50, 5.0, 1, None) == asks(50, 5.0, 1, None)
    assert asks(50, 5.0, 1, None) != asks(50, 5.0, 2, None)


def test_sizes_are_those_of_the_traffic():
    """A prompt is as long as the traffic says, in the tokens that the scripted providers count."""
    ask = asks(10, 5.0, 1, None)[3]
    body = ask.body()
    assert len(body["messages"][0]["content"]) == 4 * ask.input_tokens
    assert body["max_tokens"] == ask.output_tokens


def test_a_recorded_trace(trace_file):
    """A trace is played in its own order, with its own sizes."""
    first, second = asks(2, 5.0, 1, trace_file)
    assert (first.input_tokens, first.output_tokens) == (374, 44)
    assert (second.input_tokens, second.output_tokens) == (396, 109)


def test_no_trace(tmp_path):
    """A file that is no trace, or an empty one, is refused before anything starts."""
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "empty.csv").write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n")
    with pytest.raises(InvalidRequestError, match="line 1"):
        asks(5, 5.0, 1, tmp_path / "other.csv")
    with pytest.raises(InvalidRequestError, match="no requests"):
        asks(5, 5.0, 1, tmp_path / "empty.csv")

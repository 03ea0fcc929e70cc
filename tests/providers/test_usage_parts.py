"""The parts of a usage that have prices of their own: cached, audio, images, reasoning."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apikeyrouter.adapters.providers.limits import MAX_TOKENS_OF_ONE_ANSWER
from apikeyrouter.adapters.providers.openai_wire import usage_of
from apikeyrouter.domain.interfaces.provider_adapter import Usage

CHAT = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
RESPONSES = {"input_tokens": 100, "output_tokens": 50, "total_tokens": 150}


def read(**fields) -> Usage | None:
    """Read a usage from JSON."""
    return usage_of(msgspec.Raw(msgspec.json.encode(fields)))


class TestPartsThatAreTold:
    def test_of_a_chat(self):
        """Every part of the details that has a price of its own is read."""
        usage = read(
            **CHAT,
            prompt_tokens_details={
                "cached_tokens": 60,
                "cache_write_tokens": 5,
                "audio_tokens": 10,
                "image_tokens": 7,
                "text_tokens": 18,
            },
            completion_tokens_details={"reasoning_tokens": 20, "audio_tokens": 3, "image_tokens": 2},
        )
        assert usage == Usage(
            100,
            50,
            cached_input_tokens=60,
            cache_write_tokens=5,
            audio_input_tokens=10,
            image_input_tokens=7,
            reasoning_tokens=20,
            audio_output_tokens=3,
            image_output_tokens=2,
        )

    def test_of_a_response(self):
        """The Responses API has the same parts under other names."""
        usage = read(
            **RESPONSES,
            input_tokens_details={"cached_tokens": 60},
            output_tokens_details={"reasoning_tokens": 20},
        )
        assert usage == Usage(100, 50, cached_input_tokens=60, reasoning_tokens=20)

    @pytest.mark.parametrize("name", ["prompt_cache_hit_tokens", "cached_tokens"])
    def test_cached_input_by_other_names(self, name):
        """DeepSeek and Moonshot tell it beside the counts."""
        assert read(**CHAT, **{name: 40}) == Usage(100, 50, cached_input_tokens=40)

    def test_reasoning_beside_the_completion(self):
        """Where only the total holds the reasoning, it was produced too, and is charged."""
        told = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 170}
        usage = read(**told, completion_tokens_details={"reasoning_tokens": 20})
        assert usage == Usage(100, 70, reasoning_tokens=20)


class TestPartsThatCannotBe:
    @pytest.mark.parametrize("count", [101, -1, 1.5, True, "7", None, [], 2**70])
    def test_an_absurd_part_is_no_part(self, count):
        """More than the whole, or no count at all: the whole still counts, at its own price."""
        assert read(**CHAT, prompt_tokens_details={"cached_tokens": count}) == Usage(100, 50)

    @pytest.mark.parametrize("details", [None, [], "details", 7, {"cached_tokens": {}}])
    def test_absurd_details_are_none(self, details):
        """What is no object tells no parts."""
        assert read(**CHAT, prompt_tokens_details=details) == Usage(100, 50)

    def test_an_absurd_whole_is_no_usage(self):
        """Parts do not stand in for a count that cannot be."""
        absurd = {**CHAT, "prompt_tokens": MAX_TOKENS_OF_ONE_ANSWER + 1}
        assert read(**absurd, prompt_tokens_details={"cached_tokens": 1}) is None

    @given(
        st.dictionaries(
            st.sampled_from(
                [*CHAT, *RESPONSES, "prompt_tokens_details", "output_tokens_details", "cached_tokens"]
            ),
            st.recursive(
                st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.text(max_size=3),
                lambda inner: st.dictionaries(
                    st.sampled_from(["cached_tokens", "reasoning_tokens", "audio_tokens"]), inner
                ),
                max_leaves=4,
            ),
        )
    )
    def test_whatever_is_told_parts_lie_within_their_whole(self, fields):
        """No usage has a part that is larger than what it is a part of, and nothing raises."""
        usage = read(**fields)
        if usage is not None:
            inputs = (usage.cached_input_tokens, usage.cache_write_tokens, usage.audio_input_tokens)
            outputs = (usage.reasoning_tokens, usage.audio_output_tokens, usage.image_output_tokens)
            assert all(0 <= part <= usage.input_tokens for part in inputs)
            assert all(0 <= part <= usage.output_tokens for part in outputs)

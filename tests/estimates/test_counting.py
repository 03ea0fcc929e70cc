"""Counting tokens offline."""

import sys
from importlib.util import find_spec

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apikeyrouter.adapters.tokens import count_tokens, vocabulary_of
from apikeyrouter.application.countable_input import Countable, countable

needs_vocabularies = pytest.mark.skipif(
    find_spec("toktok") is None, reason="the extra `tokens` is not installed"
)


def chat(*messages: dict, **fields) -> bytes:
    return msgspec.json.encode({"model": "gpt-4o", "messages": messages, **fields})


@pytest.mark.parametrize(
    ("model", "vocabulary"),
    [
        ("gpt-4o", "o200k_base"),
        ("gpt-4o-mini-2024-07-18", "o200k_base"),
        ("chatgpt-4o-latest", "o200k_base"),
        ("gpt-4.1-nano", "o200k_base"),
        ("gpt-5.2-codex", "o200k_base"),
        ("o3", "o200k_base"),
        ("openai/o4-mini", "o200k_base"),
        ("ft:gpt-4o:acme::1", "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
        ("gpt-oss-120b", None),
        ("gpt-4.9", None),
        ("gpt-45", None),
        ("o1000", None),
        ("claude-sonnet-4-5", None),
        ("", None),
    ],
)
def test_which_vocabulary(model, vocabulary):
    """By the beginning of the name, up to a version; what is not known is not guessed."""
    assert vocabulary_of(model) == vocabulary


@needs_vocabularies
@pytest.mark.parametrize(
    ("text", "cl100k", "o200k"),
    [
        ("", 0, 0),
        ("hello world", 2, 2),
        ("antidisestablishmentarianism", 6, 6),
        ("2 + 2 = 4", 7, 7),
        ("お誕生日おめでとう", 9, 8),
        ("<|endoftext|>", 7, 7),
    ],
)
def test_known_counts(text, cl100k, o200k):
    """What tiktoken counts; marks of the vocabulary in a text are text."""
    assert count_tokens("gpt-4", [text]) == cl100k
    assert count_tokens("gpt-4o", [text]) == o200k


@needs_vocabularies
@given(texts=st.lists(st.text(max_size=40), max_size=5))
def test_no_text_has_more_tokens_than_bytes(texts):
    """The bound that reservations stand on."""
    most = sum(len(text.encode()) for text in texts)
    assert count_tokens("gpt-4", texts) <= most
    assert count_tokens("gpt-4o", texts) <= most


def test_without_the_package_nothing_is_counted(monkeypatch):
    """It is an extra: estimates then tell the bound."""
    monkeypatch.setitem(sys.modules, "toktok", None)
    assert count_tokens("gpt-4o", ["hello"]) is None


class TestFraming:
    def test_messages(self):
        """Three tokens a message, one a name, three before the answer; roles and names are read too."""
        raw = chat({"role": "user", "name": "ann", "content": "hi"}, {"role": "assistant", "content": ""})
        assert countable("chat", raw) == Countable(["user", "hi", "ann", "assistant", ""], 3 + 3 + 1 + 3)

    def test_parts_that_are_texts(self):
        """They count as their texts."""
        raw = chat(
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
        )
        assert countable("chat", raw) == Countable(["user", "a", "b"], 6)

    @pytest.mark.parametrize(
        "raw",
        [
            chat({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}]}),
            chat({"role": "assistant", "content": "", "tool_calls": []}),
            chat({"role": "assistant", "content": None}),
            chat({"role": "user", "content": "a"}, tools=[]),
            chat({"role": "user", "content": "a"}, response_format={"type": "json_object"}),
            b'{"model":"m"}',
            b"nothing",
        ],
    )
    def test_what_nobody_can_count(self, raw):
        """How it is rendered is not published, so the bound stands."""
        assert countable("chat", raw) is None

    def test_embeddings(self):
        """Texts without any frame; tokens that the caller has counted."""
        for given_input, found in (
            ("a", Countable(["a"], 0)),
            (["a", "b"], Countable(["a", "b"], 0)),
            ([1, 2, 3], Countable([], 3)),
            ([[1, 2], [3]], Countable([], 3)),
        ):
            assert countable("embeddings", msgspec.json.encode({"input": given_input})) == found
        assert countable("embeddings", b"{}") is None

    @given(raw=st.binary(max_size=60))
    def test_any_bytes(self, raw):
        """Garbage is not countable, and harms nobody."""
        assert countable("chat", raw) is None

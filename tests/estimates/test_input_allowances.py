"""What may be counted as input beside the bytes of a body."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apikeyrouter.application.input_allowances import (
    LARGEST_CONTEXT_TOKENS,
    PICTURE_TOKENS,
    TEMPLATE_TOKENS,
    TOOLS_TOKENS,
    allowance_for,
    look_through,
)
from apikeyrouter.application.intake import Wish, order
from apikeyrouter.domain.input_bounds import body_bound
from apikeyrouter.domain.objectives import policy_of

PICTURE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
INLINE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
SOUND = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
TEXT = {"type": "text", "text": 'about "image_url", "file" and "tools"'}
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "image"}}}


def body(*parts: dict, content: object = None, **fields) -> bytes:
    messages = [{"role": "user", "content": list(parts) if parts else content or "Hello!"}]
    return msgspec.json.encode({"model": "m", "messages": messages, **fields})


def bound(raw: bytes, operation: str = "chat") -> int:
    return order(Wish(operation=operation, model="m"), policy_of(None), raw).facts.input_tokens_bound


class TestWhatIsBounded:
    @pytest.mark.parametrize("parts", [(), (TEXT,), (TEXT, TEXT), (SOUND,)])
    def test_texts_and_sound(self, parts):
        """Bytes bound them; a chat template adds a little of its own."""
        raw = body(*parts)
        assert bound(raw) == len(raw) + TEMPLATE_TOKENS

    @pytest.mark.parametrize("tools", [{"tools": [FUNCTION]}, {"functions": [{"name": "f"}]}])
    def test_tools_that_the_caller_runs(self, tools):
        """A model is told how to use them."""
        assert bound(body(**tools)) == len(body(**tools)) + TEMPLATE_TOKENS + TOOLS_TOKENS
        assert bound(body(tools=[])) == len(body(tools=[])) + TEMPLATE_TOKENS

    @pytest.mark.parametrize("count", [1, 2, 5])
    def test_each_picture(self, count):
        """By its pixels, wherever it is: a few bytes of it may be many tokens."""
        for part in (PICTURE, INLINE, {"type": "input_image", "file_id": "file-1"}):
            raw = body(TEXT, *[part] * count)
            assert bound(raw) == len(raw) + TEMPLATE_TOKENS + count * PICTURE_TOKENS

    def test_pictures_in_the_results_of_tools(self):
        """Parts may have parts."""
        raw = body({"type": "tool_result", "content": [TEXT, {"type": "image", "source": {}}]})
        assert bound(raw) == len(raw) + TEMPLATE_TOKENS + PICTURE_TOKENS

    def test_pictures_in_the_outputs_of_functions(self):
        """They are parts of an item of the input, or of a message."""
        outputs = [{"type": "input_text", "text": "a"}, {"type": "input_image"}]
        raw = body(input=[{"type": "function_call_output", "call_id": "c", "output": outputs}])
        assert bound(raw) == len(raw) + TEMPLATE_TOKENS + PICTURE_TOKENS
        raw = body(messages=[{"role": "tool", "output": outputs}])
        assert bound(raw) == len(raw) + TEMPLATE_TOKENS + PICTURE_TOKENS

    def test_embeddings_and_completions(self):
        """No template is put around them, and tokens that are sent as numbers have a byte at least."""
        for given_input in ("text", ["a", "b"], [1, 2, 3], [[1, 2], [3]]):
            raw = msgspec.json.encode({"model": "m", "input": given_input})
            assert bound(raw, "embeddings") == len(raw)
            raw = msgspec.json.encode({"model": "m", "prompt": given_input})
            assert bound(raw, "completions") == len(raw)

    def test_a_picture_to_embed(self):
        """It is counted by its pixels there too."""
        raw = msgspec.json.encode({"model": "m", "input": [{"type": "image_url", "image_url": "https://x"}]})
        assert bound(raw, "embeddings") == len(raw) + PICTURE_TOKENS


class TestWhatOnlyTheContextBounds:
    @pytest.mark.parametrize(
        "raw",
        [
            body({"type": "file", "file": {"file_id": "file-1"}}),
            body({"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}}),
            body({"type": "input_file", "file_url": "https://example.org/a.pdf"}),
            body({"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}}),
            body({"type": "video_url", "video_url": {"url": "https://example.org/a.mp4"}}),
            body({"image": "AAAA"}),
            body({"type": "tool_result", "content": [{"type": "file", "file": {}}]}),
            body(tools=[{"type": "web_search_20250305", "name": "web_search"}]),
            body(tools=[FUNCTION, {"type": "file_search", "vector_store_ids": ["v"]}]),
            body(tools=[{"type": "mcp", "server_url": "https://example.org"}]),
            body(tools=[{"google_search": {}}]),
            body(web_search_options={}),
            body(previous_response_id="resp_1"),
            body(conversation="conv_1"),
            body(prompt={"id": "pmpt_1"}),
            body(input=[{"type": "item_reference", "id": "msg_1"}]),
            body(messages=[{"role": "assistant", "audio": {"id": "audio_1"}}]),
            body(messages="not what anybody knows"),
            b'{"model":"m","messages":[{"role":"user","content":[{"\\u0074ype":"f\\u0069le"}]}]}',
        ],
        ids=lambda raw: raw.decode()[-60:],
    )
    def test_what_a_body_only_names(self, raw):
        """Files, searches, earlier answers, and whatever is not known: the context ends them all."""
        assert bound(raw) == LARGEST_CONTEXT_TOKENS

    def test_nulls_name_nothing(self):
        """Fields that are there and empty add nothing."""
        raw = body(web_search_options=None, previous_response_id=None, conversation=None, tools=None)
        assert bound(raw) == len(raw) + TEMPLATE_TOKENS

    def test_tools_without_a_type_have_a_name(self):
        """A function in another dialect is run by the caller as well."""
        raw = body(tools=[{"name": "f", "input_schema": {}}])
        assert bound(raw) == len(raw) + TEMPLATE_TOKENS + TOOLS_TOKENS


def test_quotas_hold_the_bytes_alone():
    """Else no key with a limit of tokens would take a picture, and none at all a file."""
    for raw in (body(), body(PICTURE), body(web_search_options={})):
        assert body_bound(order(Wish(operation="chat", model="m"), policy_of(None), raw).facts) == len(raw)


@pytest.mark.parametrize(
    ("parts", "needs"),
    [
        ((TEXT,), ()),
        ((PICTURE,), ("vision",)),
        ((SOUND, INLINE), ("vision", "audio")),
        ((SOUND,), ("audio",)),
    ],
)
def test_what_a_model_must_be_able_to_do(parts, needs):
    """Pictures and sound are seen by the kinds of their parts, not by what texts speak of."""
    assert allowance_for("chat", body(*parts)).needs == needs


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "content", "role", "text", "name", "image_url", "input", "messages"]),
            inner | st.sampled_from(["text", "image_url", "file", "function"]),
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(messages=JSON, tools=JSON, given_input=JSON, operation=st.sampled_from(["chat", "embeddings"]))
def test_any_body_has_a_bound(messages, tools, given_input, operation):
    """Nothing raises, and no bound is below the bytes."""
    raw = msgspec.json.encode({"model": "m", "messages": messages, "tools": tools, "input": given_input})
    assert allowance_for(operation, raw).bound(len(raw)) >= len(raw)


@given(raw=st.binary(max_size=200))
def test_any_bytes_have_a_bound(raw):
    """What is no JSON may be anything."""
    assert allowance_for("chat", raw).bound(len(raw)) >= len(raw)


def test_a_deep_body():
    """Parts in parts, deeper than anybody needs."""
    raw = (
        b'{"messages":[{"content":'
        + b'[{"type":"tool_result","content":' * 400
        + b"[]"
        + b"}]" * 400
        + b"}]}"
    )
    assert allowance_for("chat", raw).bound(len(raw)) >= len(raw)


TEXTS = st.one_of(st.none(), st.text(max_size=8), st.integers(), st.just([TEXT]), st.just([PICTURE]))
MESSAGES = st.fixed_dictionaries(
    {"role": st.just("user")},
    optional={"content": TEXTS, "output": TEXTS, "audio": st.sampled_from([None, {"id": "a"}])},
)
RICH = {
    "input": [None, "x", [PICTURE]],
    "prompt": [None, "x", {"id": "p"}],
    "tools": [None, [], [FUNCTION], [{"type": "web_search"}]],
    "functions": [None, [], [{"name": "f"}]],
    "web_search_options": [None, {}],
    "previous_response_id": [None, "r"],
    "conversation": [None, "c"],
    "user": ["u"],
}
CHATS = st.fixed_dictionaries(
    {},
    optional={
        "messages": st.lists(MESSAGES, max_size=3),
        **{name: st.sampled_from(values) for name, values in RICH.items()},
    },
)


@given(CHATS, st.sampled_from(["chat", "embeddings", "completions", "responses"]))
def test_the_short_look_at_texts_alone_finds_what_the_long_one_finds(chat, operation):
    """A chat of texts is let pass at a glance, and only such a chat."""
    raw = msgspec.json.encode(chat)
    assert allowance_for(operation, raw) == look_through(operation, raw)

"""The newest OpenAI SDK talks to the provider as to the real one."""

import itertools

import openai
import pytest
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response
from pydantic import BaseModel

from apikeyrouter.interfaces.scripted_provider import (
    Fault,
    FaultKind,
    KeyScript,
    Script,
    ScriptedModel,
    ScriptedProvider,
    ThreadedProvider,
)

HELLO = [{"role": "user", "content": "Hello, world!"}]
WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "unit": {"enum": ["celsius", "kelvin"]},
        "places": {"type": "array", "items": {"$ref": "#/$defs/Place"}},
        "note": {"type": ["string", "null"]},
    },
    "$defs": {"Place": {"type": "object", "properties": {"exact": {"type": "boolean"}}}},
}
WEATHER_EXAMPLE = '{"city":"text","days":1,"unit":"celsius","places":[{"exact":true}],"note":"text"}'


def script(**behaviour) -> Script:
    return Script(keys={"alpha": KeyScript(key="sk-a", **behaviour)})


@pytest.fixture
async def provider():
    async with ScriptedProvider(script()) as provider:
        yield provider


@pytest.fixture
async def client(provider):
    async with openai.AsyncOpenAI(base_url=provider.base_url, api_key="sk-a", max_retries=0) as client:
        yield client


def strict(answer: BaseModel, kind: type[BaseModel]) -> None:
    """Hold an answer against the SDK's types, which the SDK itself does not do."""
    kind.model_validate_json(answer.to_json())


class TestChat:
    async def test_a_whole_answer(self, client):
        """A whole answer has the SDK's shape, and counts what it holds."""
        answer = await client.chat.completions.create(model="m", messages=HELLO)
        strict(answer, ChatCompletion)
        text = answer.choices[0].message.content
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage.prompt_tokens == 4
        assert answer.usage.completion_tokens == len(text) / 4 == 32
        assert answer.usage.total_tokens == 36

    async def test_the_same_question_has_the_same_answer(self, client):
        """Answers depend on the prompt alone."""
        texts = [
            (await client.chat.completions.create(model="m", messages=[{"role": "user", "content": content}]))
            .choices[0]
            .message.content
            for content in ("one", "one", "another")
        ]
        assert texts[0] == texts[1] != texts[2]

    async def test_the_wish_for_fewer_tokens_is_followed(self, client):
        """An answer is as long as asked, and says that it was cut."""
        for wish in ({"max_tokens": 5}, {"max_completion_tokens": 5}):
            answer = await client.chat.completions.create(model="m", messages=HELLO, **wish)
            assert (answer.usage.completion_tokens, answer.choices[0].finish_reason) == (5, "length")

    async def test_several_choices(self, client):
        """Each choice is there, and all are counted."""
        answer = await client.chat.completions.create(model="m", messages=HELLO, n=3, max_tokens=5)
        assert [choice.index for choice in answer.choices] == [0, 1, 2]
        assert answer.usage.completion_tokens == 15

    async def test_images_are_accepted_and_counted(self, client):
        """An image counts as the tokens of a small one."""
        content = [
            {"type": "text", "text": "What is it?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        ]
        answer = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": content}]
        )
        assert answer.usage.prompt_tokens == 3 + 85

    async def test_a_tool_is_called_when_asked_for(self, client):
        """A required tool is called with arguments that fit its parameters."""
        tools = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}]
        named = {"type": "function", "function": {"name": "weather"}}
        for choice in ("required", named):
            answer = await client.chat.completions.create(
                model="m", messages=HELLO, tools=tools, tool_choice=choice
            )
            strict(answer, ChatCompletion)
            call = answer.choices[0].message.tool_calls[0].function
            assert (call.name, call.arguments) == ("weather", WEATHER_EXAMPLE)
            assert answer.choices[0].finish_reason == "tool_calls"
            assert answer.choices[0].message.content is None

    async def test_a_tool_is_left_alone_otherwise(self, client):
        """Tools that may be used are not."""
        tools = [{"type": "function", "function": {"name": "weather"}}]
        for choice in ("auto", "none"):
            answer = await client.chat.completions.create(
                model="m", messages=HELLO, tools=tools, tool_choice=choice
            )
            assert answer.choices[0].message.tool_calls is None

    async def test_a_tool_that_is_not_there(self, client):
        """A tool choice that names no tool is refused."""
        with pytest.raises(openai.BadRequestError, match="nothing"):
            await client.chat.completions.create(
                model="m",
                messages=HELLO,
                tools=[{"type": "function", "function": {"name": "weather"}}],
                tool_choice={"type": "function", "function": {"name": "nothing"}},
            )

    async def test_a_schema_that_holds_itself(self, client):
        """A recursive schema gets arguments that end."""
        node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
        schema = {"$ref": "#/$defs/Node", "$defs": {"Node": node}}
        tools = [{"type": "function", "function": {"name": "walk", "parameters": schema}}]
        answer = await client.chat.completions.create(
            model="m", messages=HELLO, tools=tools, tool_choice="required"
        )
        assert answer.choices[0].message.tool_calls[0].function.arguments.startswith('{"next":{"next":')

    async def test_a_structured_answer_fits_its_schema(self, client):
        """The SDK can parse a structured answer into the model that was asked for."""

        class Inner(BaseModel):
            exact: bool

        class Weather(BaseModel):
            city: str
            inner: Inner
            degrees: list[float]

        answer = await client.chat.completions.parse(model="m", messages=HELLO, response_format=Weather)
        assert answer.choices[0].message.parsed == Weather(
            city="text", inner=Inner(exact=True), degrees=[1.5]
        )


class TestChatStream:
    async def test_deltas_make_the_whole_answer(self, client):
        """The deltas of a stream are the text of the whole answer, one token each."""
        whole = await client.chat.completions.create(model="m", messages=HELLO)
        stream = await client.chat.completions.create(model="m", messages=HELLO, stream=True)
        chunks = [chunk async for chunk in stream]
        for chunk in chunks:
            strict(chunk, ChatCompletionChunk)
        texts = [chunk.choices[0].delta.content for chunk in chunks]
        assert "".join(filter(None, texts)) == whole.choices[0].message.content
        assert len(chunks) == 1 + 32 + 1
        assert chunks[0].choices[0].delta.role == "assistant"
        assert chunks[-1].choices[0].finish_reason == "stop"
        assert all(chunk.usage is None for chunk in chunks)

    async def test_usage_comes_last_when_wished(self, client):
        """With include_usage the last chunk has no choice but the usage."""
        stream = await client.chat.completions.create(
            model="m", messages=HELLO, stream=True, n=2, max_tokens=3, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        assert chunks[-1].choices == []
        assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (4, 6)

    async def test_a_tool_call_in_pieces(self, client):
        """The SDK gathers a streamed tool call into one."""
        tools = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}]
        stream = await client.chat.completions.create(
            model="m", messages=HELLO, tools=tools, tool_choice="required", stream=True
        )
        calls = [call.function async for chunk in stream for call in chunk.choices[0].delta.tool_calls or []]
        assert calls[0].name == "weather"
        assert "".join(call.arguments for call in calls) == WEATHER_EXAMPLE

    async def test_tokens_can_share_an_event(self):
        """A script can put several tokens into one event; nothing is lost."""
        async with (
            ScriptedProvider(script(tokens_per_event=10)) as provider,
            openai.AsyncOpenAI(base_url=provider.base_url, api_key="sk-a") as client,
        ):
            stream = await client.chat.completions.create(model="m", messages=HELLO, stream=True)
            texts = [chunk.choices[0].delta.content or "" async for chunk in stream]
            ledger = await provider.until(lambda ledger: ledger.keys["alpha"].open == 0)
        assert [len(text) for text in texts] == [0, 40, 40, 40, 8, 0]
        assert ledger.keys["alpha"].output_tokens == 32


class TestTheOtherOperations:
    async def test_text_completions(self, client):
        """A text completion, whole and streamed, is the same text."""
        whole = await client.completions.create(model="m", prompt="Once", max_tokens=7)
        strict(whole, Completion)
        stream = await client.completions.create(model="m", prompt="Once", max_tokens=7, stream=True)
        chunks = [chunk async for chunk in stream]
        assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
        assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (1, 7)

    @pytest.mark.parametrize(
        ("prompt", "tokens"), [(["abcd", "efgh"], 2), ([1, 2, 3], 3), ([[1], [2, 3]], 3)]
    )
    async def test_prompts_in_every_form(self, client, prompt, tokens):
        """Prompts may be lists of texts or of token ids."""
        answer = await client.completions.create(model="m", prompt=prompt, max_tokens=1)
        assert answer.usage.prompt_tokens == tokens

    async def test_embeddings(self, client):
        """Vectors have length one, depend on the text, and are the same in both encodings."""
        packed = await client.embeddings.create(model="m", input=["a", "b", "a"])
        strict(packed, CreateEmbeddingResponse)
        plain = await client.embeddings.create(model="m", input=["a", "b", "a"], encoding_format="float")
        first, second, third = (one.embedding for one in packed.data)
        assert [one.embedding for one in plain.data] == [first, second, third]
        assert first == third != second
        assert sum(x * x for x in first) == pytest.approx(1, abs=1e-5)
        assert packed.usage.prompt_tokens == 1

    async def test_embeddings_in_other_dimensions(self, client):
        """The wished number of dimensions is followed."""
        answer = await client.embeddings.create(model="m", input="a", dimensions=5)
        assert len(answer.data[0].embedding) == 5

    async def test_responses(self, client):
        """The Responses API answers whole and as named events, with the same text."""
        whole = await client.responses.create(model="m", input="Hello", instructions="Be brief")
        strict(whole, Response)
        assert (whole.usage.input_tokens, whole.usage.output_tokens) == (4, 32)
        async with client.responses.stream(model="m", input="Hello", instructions="Be brief") as stream:
            kinds = [event.type async for event in stream]
            final = await stream.get_final_response()
        assert final.output_text == whole.output_text
        assert kinds[0] == "response.created"
        assert kinds[-1] == "response.completed"

    async def test_responses_that_are_cut(self, client):
        """A response that may not be longer is incomplete and says why."""
        items = [{"role": "user", "content": [{"type": "input_text", "text": "Hello"}]}]
        answer = await client.responses.create(model="m", input=items, max_output_tokens=3)
        assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
        assert answer.usage.output_tokens == 3

    async def test_responses_call_tools(self, client):
        """A required tool is called, whole and streamed."""
        tools = [{"type": "function", "name": "weather", "parameters": WEATHER, "strict": False}]
        ask = {"model": "m", "input": "Hello", "tools": tools, "tool_choice": "required"}
        whole = await client.responses.create(**ask)
        strict(whole, Response)
        async with client.responses.stream(**ask) as stream:
            final = await stream.get_final_response()
        for answer in (whole, final):
            assert (answer.output[0].name, answer.output[0].arguments) == ("weather", WEATHER_EXAMPLE)

    async def test_models(self):
        """The models of the script are listed; another one is not found."""
        told = Script(keys={"alpha": KeyScript(key="sk-a")}, models={"small": ScriptedModel()})
        async with (
            ScriptedProvider(told) as provider,
            openai.AsyncOpenAI(base_url=provider.base_url, api_key="sk-a") as client,
        ):
            assert [model.id async for model in await client.models.list()] == ["small"]
            with pytest.raises(openai.NotFoundError) as caught:
                await client.chat.completions.create(model="large", messages=HELLO)
        assert caught.value.code == "model_not_found"


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "kind", "code"),
        [
            (400, openai.BadRequestError, None),
            (401, openai.AuthenticationError, "invalid_api_key"),
            (403, openai.PermissionDeniedError, "permission_denied"),
            (404, openai.NotFoundError, "model_not_found"),
            (422, openai.UnprocessableEntityError, None),
            (429, openai.RateLimitError, "rate_limit_exceeded"),
            (500, openai.InternalServerError, None),
            (529, openai.InternalServerError, "overloaded"),
        ],
    )
    async def test_every_status_becomes_its_exception(self, client, provider, status, kind, code):
        """The SDK raises for a scripted status what it raises for the real one."""
        provider.change_key("alpha", faults=[{"kind": "status", "status": status}])
        with pytest.raises(kind) as caught:
            await client.chat.completions.create(model="m", messages=HELLO)
        assert (caught.value.status_code, caught.value.code) == (status, code)
        assert caught.value.request_id == "req_scripted_1"

    async def test_an_unknown_key(self, provider):
        """A key that the script does not list is refused, and the refusal does not repeat it."""
        async with openai.AsyncOpenAI(base_url=provider.base_url, api_key="sk-other") as client:
            with pytest.raises(openai.AuthenticationError) as caught:
                await client.chat.completions.create(model="m", messages=HELLO)
        assert caught.value.code == "invalid_api_key"
        assert "sk-other" not in str(caught.value)
        assert provider.ledger().unknown_key_calls == 1

    @pytest.mark.parametrize(
        "body", [{}, {"messages": []}, {"messages": "no"}, {"messages": HELLO, "n": 0}, {"messages": [1]}]
    )
    async def test_bodies_that_cannot_be_read(self, client, body):
        """A body that OpenAI would refuse is refused."""
        with pytest.raises(openai.BadRequestError):
            await client.post("/chat/completions", cast_to=object, body={"model": "m", **body})

    async def test_the_sdk_comes_again_after_a_rate_limit(self, provider):
        """The SDK's own retry waits as told and succeeds."""
        provider.change_key(
            "alpha", faults=[{"kind": "status", "status": 429, "retry_after": "0", "first": 1}]
        )
        async with openai.AsyncOpenAI(base_url=provider.base_url, api_key="sk-a", max_retries=2) as client:
            await client.chat.completions.create(model="m", messages=HELLO)
        assert provider.ledger().keys["alpha"].by_status == {429: 1, 200: 1}

    async def test_an_error_inside_a_stream(self, client, provider):
        """An error event breaks the stream with the SDK's exception."""
        provider.change_key("alpha", faults=[Fault(kind=FaultKind.ErrorEvent, message="it broke")])
        stream = await client.chat.completions.create(model="m", messages=HELLO, stream=True)
        with pytest.raises(openai.APIError, match="it broke"):
            [chunk async for chunk in stream]


class TestFromAnotherThread:
    def test_the_sync_client(self):
        """Code without a loop starts a provider in a thread and uses the sync client."""
        with (
            ThreadedProvider(script()) as provider,
            openai.OpenAI(base_url=provider.base_url, api_key="sk-a", max_retries=0) as client,
        ):
            answer = client.chat.completions.create(model="m", messages=HELLO)
            stream = client.chat.completions.create(model="m", messages=HELLO, stream=True)
            texts = [chunk.choices[0].delta.content or "" for chunk in stream]
            assert "".join(texts) == answer.choices[0].message.content
            provider.change_key("alpha", faults=[{"kind": "status", "status": 503}])
            with pytest.raises(openai.InternalServerError):
                client.chat.completions.create(model="m", messages=HELLO)
            provider.put_key("beta", KeyScript(key="sk-b"))
            assert provider.ledger().keys["alpha"].by_status == {200: 2, 503: 1}
            provider.reset()
            assert list(provider.ledger().keys) == ["alpha"]

    def test_a_start_that_fails_is_told(self):
        """A port that is taken raises where the provider is entered."""
        with ThreadedProvider() as first:
            second = ThreadedProvider(port=int(first.url.rsplit(":", 1)[1]))
            with pytest.raises(OSError, match="in use"):
                second.__enter__()


def test_words_differ_for_neighbouring_prompts():
    """Prompts that differ in one letter seldom share an answer."""
    from apikeyrouter.interfaces.scripted_provider.answers import says
    from apikeyrouter.interfaces.scripted_provider.asks import read_chat

    texts = [
        says(read_chat(b'{"model":"m","messages":[{"role":"user","content":"%c"}]}' % letter), 8).text
        for letter in b"abcdefghijklmnop"
    ]
    same = sum(one == other for one, other in itertools.pairwise(sorted(texts)))
    assert same <= 4

"""The newest OpenAI SDK against the proxy, unchanged but for `base_url`."""

import asyncio

import openai
import pytest
from loopback import MODEL, running_proxy, scripted

from apikeyrouter.interfaces.scripted_provider import Fault, FaultKind, KeyScript, ScriptedProvider

ASK = {"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}]}
TOOLS = [
    {
        "type": "function",
        "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
    }
]


@pytest.fixture
async def proxy():
    async with ScriptedProvider(scripted("a", "b")) as provider, running_proxy() as proxy:
        await proxy.provide(provider, "a", "b")
        yield proxy


@pytest.fixture
async def client(proxy):
    async with openai.AsyncOpenAI(base_url=f"{proxy.base_url}/v1", api_key="unused", max_retries=0) as client:
        yield client


async def test_whole_answers(client):
    """A chat completion parses, with usage and the request id that explains it."""
    answer = await client.chat.completions.create(**ASK)
    assert answer.choices[0].message.content
    assert answer.usage.total_tokens > 0
    assert answer._request_id


async def test_the_synchronous_client(proxy):
    """The blocking client works as the asynchronous one does."""

    def ask() -> str:
        with openai.OpenAI(base_url=f"{proxy.base_url}/v1", api_key="unused", max_retries=0) as client:
            return client.chat.completions.create(**ASK).choices[0].message.content

    assert await asyncio.to_thread(ask)


async def test_streams(client, proxy):
    """Chunks arrive; usage comes only to whoever asked for it, and is settled in any case."""
    stream = await client.chat.completions.create(**ASK, stream=True)
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert not any(chunk.usage for chunk in chunks)
    stream = await client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].usage.total_tokens > 0
    assert not proxy.node.state.open_requests


async def test_tools(client):
    """A tool call passes through both ways."""
    answer = await client.chat.completions.create(**ASK, tools=TOOLS, tool_choice="required")
    assert answer.choices[0].message.tool_calls[0].function.name == "weather"


async def test_images(client):
    """Image parts pass through."""
    content = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
    ]
    answer = await client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": content}]
    )
    assert answer.choices[0].message.content


async def test_embeddings(client):
    """Embeddings pass through, in the SDK's own base64 too."""
    answer = await client.embeddings.create(model="text-embedding-3-small", input=["one", "two"])
    assert len(answer.data) == 2
    assert len(answer.data[0].embedding) > 0


async def test_models(proxy, client):
    """The models that providers offer are listed; a provider's name may stand before a model's."""
    assert [model async for model in client.models.list()] == []
    answer = await client.chat.completions.create(**{**ASK, "model": f"openai/{MODEL}"})
    assert answer.model == MODEL


async def test_errors_become_the_sdk_s_own_classes(client):
    """What the proxy refuses, the SDK raises as its own exception with our message."""
    with pytest.raises(openai.BadRequestError, match="at least one message"):
        await client.chat.completions.create(model=MODEL, messages=[])


async def test_a_break_in_a_stream_raises_in_the_sdk():
    """A stream that breaks midway raises APIError at the client; it does not just end."""
    cut = KeyScript(faults=(Fault(kind=FaultKind.CutMidStream),))
    async with ScriptedProvider(scripted(a=cut)) as provider, running_proxy() as proxy:
        await proxy.provide(provider, "a")
        async with openai.AsyncOpenAI(
            base_url=f"{proxy.base_url}/v1", api_key="unused", max_retries=0
        ) as client:
            stream = await client.chat.completions.create(**ASK, stream=True)
            with pytest.raises(openai.APIError):
                _ = [chunk async for chunk in stream]

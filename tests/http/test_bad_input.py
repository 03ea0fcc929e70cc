"""Bad input: a clear error in OpenAI's dialect, nothing called, nothing lost."""

import asyncio

import pytest
from loopback import QUESTION, RUN_KEY, running_proxy, scripted

from apikeyrouter.interfaces.scripted_provider import ScriptedProvider
from apikeyrouter.settings import RouterSettings


@pytest.fixture
async def proxy():
    async with ScriptedProvider(scripted("a")) as provider, running_proxy() as proxy:
        await proxy.provide(provider, "a")
        proxy.provider = provider
        yield proxy


BODIES = {
    "nothing": (b"", "not valid JSON"),
    "no JSON": (b"hello", "not valid JSON"),
    "half an object": (b'{"model": "m", "messages": [', "not valid JSON"),
    "no model": (b'{"messages": [{"role": "user", "content": "x"}]}', "model"),
    "model of a wrong type": (b'{"model": 4, "messages": [{}]}', "model"),
    "empty model": (b'{"model": "", "messages": [{}]}', "model"),
    "huge model": (b'{"model": "' + b"m" * 1_000_000 + b'", "messages": [{}]}', "model"),
    "control characters in model": (b'{"model": "a\\r\\nX: y", "messages": [{}]}', "model"),
    "no messages": (b'{"model": "m"}', "messages"),
    "empty messages": (b'{"model": "m", "messages": []}', "messages"),
    "negative limit": (b'{"model": "m", "messages": [{}], "max_tokens": -1}', "max_tokens"),
    "duplicate name": (b'{"model": "m", "model": "n", "messages": [{}]}', "twice"),
    "hidden duplicate": (b'{"model": "m", "mod\\u0065l": "n", "messages": [{}]}', "twice"),
    "NaN": (b'{"model": "m", "messages": [{"x": NaN}]}', "JSON"),
    "lone surrogate": (b'{"model": "m", "messages": [{"x": "\\ud800"}]}', "JSON"),
    "invalid UTF-8": (b'{"model": "m", "messages": [{"x": "\xff"}]}', "UTF-8"),
    "byte order mark": (b'\xef\xbb\xbf{"model": "m", "messages": [{}]}', "JSON"),
    "UTF-16": ('{"model": "m", "messages": [{}]}'.encode("utf-16"), "JSON"),
    "200,000 deep": (b'{"model": "m", "messages": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "deeply"),
    "5,000 digits": (b'{"model": "m", "messages": [{}], "x": ' + b"9" * 5000 + b"}", "out of range"),
    "a list": (b"[]", "does not fit"),
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_body_that_cannot_be_served_is_refused_with_its_reason(proxy, name):
    """Each is 400 in OpenAI's shape; the upstream is not called and the proxy goes on."""
    body, says = BODIES[name]
    answer = await proxy.client.post("/v1/chat/completions", content=body)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert says in error["message"]
    assert len(error["message"]) < 500
    assert not proxy.provider.ledger().calls
    assert (await proxy.ask()).status_code == 200


async def test_any_prompt_passes(proxy):
    """Contents are never filtered: quotes, emoji, control escapes, code, other languages, our own marks."""
    for content in (
        "\u0000\u0007",
        "🎉" * 100,
        "DROP TABLE keys; --",
        '"[DONE]"',
        "data: [DONE]\n\n",
        "ě" * 3000,
    ):
        answer = await proxy.ask(messages=[{"role": "user", "content": content}])
        assert answer.status_code == 200


async def test_a_body_above_the_limit_is_refused_whether_declared_or_not():
    """413 by the declared length, and by what really arrives where none is declared."""
    async with running_proxy(RouterSettings(max_body_bytes=1000)) as proxy:
        declared = await proxy.client.post("/v1/chat/completions", content=b" " * 1001)
        assert declared.status_code == 413

        async def chunks():
            for _ in range(20):
                yield b" " * 100

        chunked = await proxy.client.post("/v1/chat/completions", content=chunks())
        assert chunked.status_code == 413
        assert chunked.json()["error"]["code"] == "request_too_large"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/v1/keys", {"key_material": "", "provider_id": "openai"}, 400),
        ("/api/v1/keys", {"key_material": "sk-\r\nX-Evil: 1", "provider_id": "openai"}, 400),
        ("/api/v1/keys", {"key_material": "sk-test-é", "provider_id": "openai"}, 400),
        ("/api/v1/keys", {"key_material": "sk-test-new", "provider_id": "nobody"}, 404),
        ("/api/v1/keys", {"key_material": "sk-test-a", "provider_id": "openai"}, 409),
        ("/api/v1/keys", {"provider_id": "openai"}, 400),
        ("/api/v1/keys", {"key_material": "sk-x", "provider_id": "openai", "metadata": {"rpm": -1}}, 400),
        ("/api/v1/keys", {"key_material": "sk-x", "provider_id": "openai", "colour": "red"}, 400),
        ("/api/v1/keys/nobody/disable", {}, 404),
        ("/api/v1/providers", {"provider_id": "UPPER"}, 400),
        ("/api/v1/providers", {"provider_id": "openai", "base_url": "http://127.0.0.1:1"}, 409),
        ("/api/v1/providers", {"provider_id": "x", "kind": "carrier-pigeon"}, 400),
        ("/api/v1/providers", {"provider_id": "x", "models": [{"model": "m", "prize": 1}]}, 400),
    ],
)
async def test_management_refuses_what_it_cannot_do(proxy, path, body, status):
    """Empty, foreign, duplicate or misspelt: a clear error, and the state stays as it was."""
    position = proxy.node.state.position
    answer = await proxy.client.post(path, json=body, headers={"x-api-key": RUN_KEY})
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]
    assert "sk-" not in answer.text
    assert proxy.node.state.position == position


async def test_management_is_closed_to_strangers(proxy):
    """Without the management key, or with a wrong one, nothing is told and nothing is done."""
    for headers in ({}, {"x-api-key": "guess"}, {"authorization": f"Basic {RUN_KEY}"}):
        for path in ("/api/v1/keys", "/api/v1/events", "/api/v1/requests/x", "/api/v1/providers"):
            assert (await proxy.client.get(path, headers=headers)).status_code == 401
    allowed = await proxy.client.get("/api/v1/keys", headers={"authorization": f"Bearer {RUN_KEY}"})
    assert allowed.status_code == 200


async def test_unknown_addresses_and_methods_answer_in_the_same_shape(proxy):
    """404 and 405 are errors in OpenAI's shape too."""
    assert (await proxy.client.get("/v1/nothing")).json()["error"]["code"] == "unknown_url"
    assert (await proxy.client.get("/v1/chat/completions")).status_code == 404
    assert (await proxy.client.delete("/v1/models")).json()["error"]["message"]


async def test_unknown_objectives_and_correlation_ids_are_refused(proxy):
    """A header that steers routing is checked as strictly as the body."""
    for headers in ({"x-akr-objective": "cheapest"}, {"x-correlation-id": "x" * 200}):
        answer = await proxy.client.post("/v1/chat/completions", json=QUESTION, headers=headers)
        assert answer.status_code == 400


async def test_raw_oddities_do_not_stop_the_server(proxy):
    """Smuggling, endless headers, old versions and garbage on the socket leave the server serving."""
    oddities = (
        b"GARBAGE\r\n\r\n",
        (
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        b"GET /health HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: " + b"y" * 100_000 + b"\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{",
    )
    for oddity in oddities:
        _, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(oddity)
        await writer.drain()
        writer.close()
    assert (await proxy.ask()).status_code == 200

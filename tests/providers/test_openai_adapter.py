"""The OpenAI adapter, whole answers: what it sends, what it reads, and how it names what goes wrong."""

import asyncio
import json

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_server import KEY, answering, json_response, response, until

from apikeyrouter.adapters.providers import openai as openai_module
from apikeyrouter.adapters.providers.error_shapes import complaint_in
from apikeyrouter.adapters.providers.httpx_transport import HttpxTransport
from apikeyrouter.adapters.providers.openai import OpenAIAdapter
from apikeyrouter.adapters.providers.openai_wire import answer_fields, usage_of
from apikeyrouter.adapters.providers.redaction import Mask
from apikeyrouter.domain.failures import AttemptFailedError, FailureClass, failure_of
from apikeyrouter.domain.interfaces.provider_adapter import Usage

CHAT = {
    "id": "chatcmpl-1",
    "model": "gpt-4o-2024-08-06",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": 'an "error": {'}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18, "prompt_tokens_details": {}},
    "error": None,
}
EMBEDDINGS = {
    "object": "list",
    "data": [{"embedding": [0.1, 0.2]}],
    "model": "text-embedding-3-small",
    "usage": {"prompt_tokens": 5, "total_tokens": 5},
}
RESPONSES = {
    "id": "resp_1",
    "model": "gpt-4o",
    "status": "completed",
    "error": None,
    "output": [{"type": "message"}],
    "usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7},
}


def error_body(code=None, kind="some_error", message="no"):
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}).encode()


async def failure(adapter, call):
    """Make a call that must fail, and return how."""
    with pytest.raises(AttemptFailedError) as caught:
        await adapter.execute(call)
    return caught.value.failure


class TestACallThatSucceeds:
    @pytest.mark.parametrize(
        ("operation", "path", "answer", "usage", "finish_reason"),
        [
            ("chat", "/v1/chat/completions", CHAT, Usage(11, 7), "stop"),
            ("completions", "/v1/completions", CHAT, Usage(11, 7), "stop"),
            ("embeddings", "/v1/embeddings", EMBEDDINGS, Usage(5, 0), None),
            ("responses", "/v1/responses", RESPONSES, Usage(3, 4), "completed"),
        ],
    )
    async def test_each_operation_has_its_path_and_its_fields(
        self, upstream, call, operation, path, answer, usage, finish_reason
    ):
        """The body passes through untouched both ways; the few fields that routing wants are read."""
        body = json.dumps(answer).encode()
        server, adapter = await upstream(answering(json_response(body)))
        got = await adapter.execute(call(operation=operation, body=b'{ "as": "it is" }'))
        head, _, sent = server.requests[0].partition(b"\r\n\r\n")
        assert head.startswith(f"POST {path} HTTP/1.1\r\n".encode())
        assert f"authorization: Bearer {KEY}".encode() in head
        assert b"content-type: application/json" in head
        assert (sent, got.body) == (b'{ "as": "it is" }', body)
        assert (got.usage, got.model, got.finish_reason) == (usage, answer["model"], finish_reason)
        assert got.upstream_request_id == "req_42"

    async def test_an_organization_is_named(self, upstream, call):
        """The organization travels in OpenAI's header."""
        server, adapter = await upstream(
            answering(json_response(json.dumps(CHAT).encode())), organization="org-1"
        )
        await adapter.execute(call())
        assert b"openai-organization: org-1" in server.requests[0]

    @pytest.mark.parametrize(
        "usage",
        [
            '{"prompt_tokens": -1, "completion_tokens": 1}',
            '{"prompt_tokens": 1e400, "completion_tokens": 1}',
            '{"prompt_tokens": 1.5, "completion_tokens": 1}',
            '{"prompt_tokens": "11", "completion_tokens": 1}',
            '{"prompt_tokens": true, "completion_tokens": 1}',
            '{"prompt_tokens": 2000000000000, "completion_tokens": 1}',
            '{"prompt_tokens": %s, "completion_tokens": 1}' % ("9" * 5000),
            '{"completion_tokens": 1}',
            "{}",
            "[]",
            "null",
            '"lots"',
        ],
    )
    async def test_an_absurd_usage_is_no_usage(self, upstream, call, usage):
        """The answer stands; its count is not believed."""
        body = '{"choices": [{"finish_reason": "stop"}], "usage": ' + usage + "}"
        _, adapter = await upstream(answering(json_response(body.encode())))
        assert (await adapter.execute(call())).usage is None

    async def test_strange_labels_are_not_logged(self, upstream, call):
        """What is no short printable text is not taken for a model, a reason or an id."""
        body = json.dumps({"model": "m" * 5000, "choices": [{"finish_reason": "st\nop"}]}).encode()
        _, adapter = await upstream(answering(response(body, headers=("X-Request-Id: " + "r" * 999,))))
        got = await adapter.execute(call())
        assert (got.model, got.finish_reason, got.upstream_request_id) == (None, None, None)


class TestAnAnswerThatIsNone:
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"<html>200 but not an answer</html>",
            json.dumps(CHAT).encode()[:-1],
            b"[]",
            b"null",
            b"{}",
            b'{"choices": []}',
            b'{"choices": "none"}',
            b'{"choices": [1]}',
            b'{"choices": [{"text": NaN}]}',
            b'{"choices": [{"text": "\xff"}]}',
            b"\xef\xbb\xbf" + json.dumps(CHAT).encode(),
            json.dumps(CHAT).encode("utf-16"),
            b'{"choices": [{}], "deep": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        ],
    )
    async def test_success_without_the_promised_shape_is_malformed(self, upstream, call, body):
        """A status of 200 alone makes no answer."""
        _, adapter = await upstream(answering(json_response(body)))
        failed = await failure(adapter, call())
        assert (failed.failure_class, failed.status, failed.body) == (FailureClass.MalformedAnswer, 200, None)

    @pytest.mark.parametrize("operation", ["embeddings", "responses"])
    async def test_each_operation_has_a_shape_of_its_own(self, upstream, call, operation):
        """A chat answer is no list of vectors."""
        _, adapter = await upstream(answering(json_response(json.dumps(CHAT).encode())))
        assert (
            await failure(adapter, call(operation=operation))
        ).failure_class is FailureClass.MalformedAnswer

    @pytest.mark.parametrize(
        ("error", "expected", "code"),
        [
            ({"code": "insufficient_quota"}, FailureClass.QuotaExhausted, "insufficient_quota"),
            ({"code": None, "type": "insufficient_quota"}, FailureClass.QuotaExhausted, "insufficient_quota"),
            ({"code": 429, "message": "slow down"}, FailureClass.RateLimited, None),
            ({"code": 7}, FailureClass.ServerError, None),
            ("something broke", FailureClass.ServerError, None),
        ],
    )
    async def test_an_error_under_success_is_classified_by_its_code(
        self, upstream, call, error, expected, code
    ):
        """Some providers answer 200 and mean the contrary, even beside a result."""
        body = json.dumps(CHAT | {"error": error}).encode()
        _, adapter = await upstream(answering(json_response(body)))
        failed = await failure(adapter, call())
        assert (failed.failure_class, failed.status, failed.code) == (expected, 200, code)

    async def test_an_answer_over_the_bound_is_refused(self, upstream, call, monkeypatch):
        """An answer may be large, not endless."""
        monkeypatch.setattr(openai_module, "MAX_ANSWER_BYTES", 1000)
        _, adapter = await upstream(answering(json_response(b" " * 1001)))
        assert (await failure(adapter, call())).failure_class is FailureClass.MalformedAnswer

    @given(st.sampled_from(["chat", "completions", "embeddings", "responses"]), st.binary(max_size=300))
    def test_any_bytes_are_an_answer_or_none(self, operation, body):
        """No body crashes the readers."""
        answer_fields(operation, body)
        complaint = complaint_in(body, Mask(KEY))
        assert isinstance(failure_of(200, complaint).failure_class, FailureClass)

    @given(
        st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5), st.lists, max_leaves=5)
    )
    def test_any_json_is_a_usage_or_none(self, value):
        """No JSON in the place of usage or error crashes the readers."""
        for fields in ({"prompt_tokens": value}, {"input_tokens": value, "output_tokens": 1}, value):
            raw = msgspec.Raw(json.dumps(fields).encode())
            assert usage_of(raw) is None or isinstance(usage_of(raw), Usage)
            complaint_in(json.dumps({"error": fields}).encode(), Mask(KEY))


class TestARefusal:
    @pytest.mark.parametrize(
        ("status", "code", "expected"),
        [
            (400, None, FailureClass.InvalidRequest),
            (400, "invalid_api_key", FailureClass.KeyRejected),
            (401, "invalid_api_key", FailureClass.KeyRejected),
            (402, None, FailureClass.QuotaExhausted),
            (403, None, FailureClass.PermissionDenied),
            (404, "model_not_found", FailureClass.ModelNotFound),
            (408, None, FailureClass.ServerError),
            (409, None, FailureClass.Conflict),
            (418, None, FailureClass.InvalidRequest),
            (422, None, FailureClass.InvalidRequest),
            (429, None, FailureClass.RateLimited),
            (429, "insufficient_quota", FailureClass.QuotaExhausted),
            (302, None, FailureClass.ServerError),
            (500, None, FailureClass.ServerError),
            (503, None, FailureClass.Overloaded),
            (529, None, FailureClass.Overloaded),
            (999, None, FailureClass.ServerError),
        ],
    )
    async def test_status_and_code_name_the_failure(self, upstream, call, status, code, expected):
        """The class is that of the table; the connection lives on."""
        server, adapter = await upstream(answering(json_response(error_body(code), status=f"{status} No")))
        failed = await failure(adapter, call())
        await failure(adapter, call())
        assert (failed.failure_class, failed.status, failed.sent) == (expected, status, True)
        assert failed.code == (code or "some_error")
        assert len(server.peers) == 1

    @pytest.mark.parametrize(
        ("status", "header", "expected_us"),
        [
            ("429 No", "Retry-After: 3", 3_000_000),
            ("429 No", "Retry-After-Ms: 30", 30_000),
            ("429 No", "Retry-After: Thu, 01 Jan 1970 00:01:40 GMT", 60_000_000),
            ("429 No", "Retry-After: Thu, 01 Jan 1970 00:00:01 GMT", 0),
            ("429 No", "Retry-After: whenever", None),
            ("429 No", "X-RateLimit-Reset-Tokens: 6m0s", 360_000_000),
            ("503 No", "Retry-After: 3", 3_000_000),
            ("503 No", "X-RateLimit-Reset-Tokens: 6m0s", None),
        ],
    )
    async def test_the_wait_is_read_from_the_headers(self, upstream, call, status, header, expected_us):
        """What the provider asks for is kept; rate-limit resets count for rate limits only."""
        answer = response(error_body(), status=status, headers=(header,))
        _, adapter = await upstream(answering(answer), now_s=lambda: 40.0)
        assert (await failure(adapter, call())).retry_after_us == expected_us

    @pytest.mark.parametrize("status", [400, 404, 413, 422])
    async def test_the_client_gets_the_providers_words_when_it_is_at_fault(self, upstream, call, status):
        """The provider's JSON says best what is wrong with the request."""
        _, adapter = await upstream(answering(json_response(error_body(), status=f"{status} No")))
        failed = await failure(adapter, call())
        assert json.loads(failed.body) == json.loads(error_body())

    @pytest.mark.parametrize("status", [401, 403, 429, 500])
    async def test_other_refusals_stay_between_us_and_the_provider(self, upstream, call, status):
        """What is wrong with a key is not the client's to read."""
        _, adapter = await upstream(answering(json_response(error_body(), status=f"{status} No")))
        assert (await failure(adapter, call())).body is None

    @pytest.mark.parametrize(
        "body", [b"<html>", b"", b"{", b'{"error": "' + b"x" * 70_000 + b'"}', b"[" * 9999 + b"]" * 9999]
    )
    async def test_an_error_that_is_not_json_or_too_long_is_not_kept(self, upstream, call, body):
        """The status alone names the failure."""
        _, adapter = await upstream(answering(response(body, status="400 No")))
        failed = await failure(adapter, call())
        assert (failed.failure_class, failed.body) == (FailureClass.InvalidRequest, None)

    async def test_an_error_whose_body_stalls_is_told_soon(self, upstream, call, monkeypatch):
        """Failing over does not wait for a body that only says why."""
        monkeypatch.setattr(openai_module, "ERROR_BODY_S", 0.05)

        async def script(peer):
            await peer.request()
            await peer.send(response(b"x" * 10, status="429 No", headers=("Retry-After: 2",))[:-5])
            await peer.request()

        server, adapter = await upstream(script)
        failed = await failure(adapter, call())
        assert (failed.failure_class, failed.retry_after_us) == (FailureClass.RateLimited, 2_000_000)
        await until(server.peers[0].gone.is_set, "the close")

    async def test_an_error_whose_body_is_cut_keeps_its_status(self, upstream, call):
        """Half a reason is no reason, but a refusal all the same."""

        async def script(peer):
            await peer.request()
            await peer.send(response(error_body(), status="401 No")[:-5])
            await peer.hang_up()

        _, adapter = await upstream(script)
        assert (await failure(adapter, call())).failure_class is FailureClass.KeyRejected


class TestTheTransportBelow:
    async def test_its_failures_keep_their_class_and_what_was_sent(self, upstream, call):
        """Whether the provider can have seen the request decides what may be done next."""
        server, adapter = await upstream(answering())
        await server.close()
        failed = await failure(adapter, call())
        assert (failed.failure_class, failed.sent) == (FailureClass.ConnectFailed, False)

    async def test_a_body_that_breaks_keeps_the_status(self, upstream, call):
        """What had arrived is told."""

        async def script(peer):
            await peer.request()
            await peer.send(json_response(json.dumps(CHAT).encode())[:-9])
            await peer.hang_up()

        _, adapter = await upstream(script)
        failed = await failure(adapter, call())
        assert (failed.failure_class, failed.status, failed.sent) == (FailureClass.BrokenAnswer, 200, True)

    async def test_the_calls_deadline_bounds_the_attempt(self, upstream, call):
        """A shorter deadline than the adapter's own is kept."""

        async def script(peer):
            await peer.request()
            await peer.request()

        server, adapter = await upstream(script)
        failed = await failure(adapter, call(deadline_us=100_000))
        assert (failed.failure_class, failed.sent) == (FailureClass.TotalTimeout, True)
        await until(server.peers[0].gone.is_set, "the close")

    async def test_cancelling_the_call_closes_the_upstream(self, upstream, call):
        """A client that leaves stops the provider's work within a second."""

        async def script(peer):
            await peer.request()
            await peer.request()

        server, adapter = await upstream(script)
        calling = asyncio.create_task(adapter.execute(call()))
        await until(lambda: server.requests)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        async with asyncio.timeout(1):
            await server.peers[0].gone.wait()

    async def test_a_users_own_transport_carries_the_calls(self, call):
        """The adapter works over httpx and whatever a user puts below it, and leaves its closing to them."""
        client = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=CHAT)))
        adapter = OpenAIAdapter("https://provider.example/v1", transport=HttpxTransport(client))
        assert (await adapter.execute(call())).usage == Usage(11, 7)
        await adapter.close()
        assert not client.is_closed
        await client.aclose()

    async def test_its_own_transport_is_closed_with_the_adapter(self, upstream, call):
        """Idle connections are given back."""
        server, adapter = await upstream(answering(json_response(json.dumps(CHAT).encode())))
        await adapter.execute(call())
        await adapter.close()
        await until(server.peers[0].gone.is_set, "the close")


class TestACallThatIsNotMade:
    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"operation": "images"}, FailureClass.InvalidRequest),
            ({"deadline_us": 0}, FailureClass.TotalTimeout),
            ({"deadline_us": -1}, FailureClass.TotalTimeout),
            ({"key_material": ""}, FailureClass.KeyRejected),
            ({"key_material": "sk-a\r\nX-Evil: 1"}, FailureClass.KeyRejected),
            ({"key_material": "sk-a\0b"}, FailureClass.KeyRejected),
            ({"key_material": "sk-with space"}, FailureClass.KeyRejected),
            ({"key_material": "sk-ključ"}, FailureClass.KeyRejected),
        ],
    )
    async def test_what_cannot_be_sent_is_told_before_anything_is(self, upstream, call, changes, expected):
        """Nothing reaches the provider, and the failure says so."""
        server, adapter = await upstream(answering(json_response(b"{}")))
        failed = await failure(adapter, call(**changes))
        with pytest.raises(AttemptFailedError) as caught:
            await adapter.open_stream(call(**changes))
        assert (failed.failure_class, failed.sent) == (expected, False)
        assert caught.value.failure == failed
        assert server.peers == []

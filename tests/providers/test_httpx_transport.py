"""What the portable transport promises to users who put their own client, mock or proxy below it."""

import httpx
import pytest
from raw_server import KEY

from apikeyrouter.adapters.providers.httpx_transport import HttpxTransport
from apikeyrouter.adapters.providers.transport import Deadlines, HttpRequest, TransportError
from apikeyrouter.domain.failures import FailureClass

REQUEST = HttpRequest(
    method="POST",
    url="https://provider.example/v1/x",
    headers=[("authorization", f"Bearer {KEY}")],
    body=b"{}",
    deadlines=Deadlines(connect_s=1, first_byte_s=1, idle_s=1, total_s=2),
)


def over(handler, **options):
    return HttpxTransport(httpx.AsyncClient(transport=httpx.MockTransport(handler), **options))


async def test_a_mocks_ready_answer_is_read_whole_and_by_chunks():
    """Answers that never were a stream work like those that were, compressed or not."""
    transport = over(lambda _: httpx.Response(200, text="ready", headers={"x-a": "1"}))
    answer = await transport.send(REQUEST)
    assert (answer.status, answer.headers["x-a"], await answer.read(10)) == (200, "1", b"ready")
    answer = await transport.send(REQUEST)
    assert [chunk async for chunk in answer.chunks()] == [b"ready"]
    empty = await over(lambda _: httpx.Response(204)).send(REQUEST)
    assert await empty.read(10) == b""


async def test_a_mock_sees_the_request_as_it_would_be_sent():
    """Method, address, headers and body are the caller's; compression is declined."""
    seen = []
    transport = over(lambda request: seen.append(request) or httpx.Response(200))
    await transport.send(REQUEST)
    assert (seen[0].method, str(seen[0].url), seen[0].content) == ("POST", REQUEST.url, b"{}")
    assert seen[0].headers["authorization"] == f"Bearer {KEY}"
    assert seen[0].headers.get_list("accept-encoding") == ["identity"]


async def test_a_client_that_follows_redirects_does_not_here():
    """A key goes where it was sent and nowhere else, whatever the client's habits."""
    calls = []

    def handler(request):
        calls.append(request.url)
        return httpx.Response(302, headers={"location": "https://evil.example/"})

    answer = await over(handler, follow_redirects=True).send(REQUEST)
    assert (answer.status, len(calls)) == (302, 1)


@pytest.mark.parametrize(
    ("error", "expected", "sent"),
    [
        (httpx.ConnectError("no"), FailureClass.ConnectFailed, False),
        (httpx.ConnectTimeout("no"), FailureClass.ConnectFailed, False),
        (httpx.PoolTimeout("no"), FailureClass.ConnectFailed, False),
        (httpx.ProxyError("no"), FailureClass.ConnectFailed, False),
        (httpx.ReadError("no"), FailureClass.BrokenAnswer, True),
        (httpx.RemoteProtocolError("Server disconnected"), FailureClass.BrokenAnswer, True),
        (httpx.RemoteProtocolError("illegal status line"), FailureClass.MalformedAnswer, True),
        (RuntimeError(f"a hook that quotes {KEY}"), FailureClass.BrokenAnswer, True),
    ],
)
async def test_errors_of_the_library_keep_their_class_and_lose_their_text(error, expected, sent):
    """Whatever a user's transport raises is classified, and nothing of its text is carried on."""

    def handler(_request):
        raise error

    with pytest.raises(TransportError) as caught:
        await over(handler).send(REQUEST)
    assert (caught.value.failure_class, caught.value.sent) == (expected, sent)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None

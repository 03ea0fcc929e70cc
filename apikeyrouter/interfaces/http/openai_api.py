"""The OpenAI dialect: parse, let the line serve, render. Plain ASGI, because this is the hot path."""

from collections.abc import Awaitable, Callable

from apikeyrouter.bootstrap import Node
from apikeyrouter.domain.models.system_error import (
    SystemError,  # noqa: A004 - the published name
)
from apikeyrouter.interfaces.http.answers import ChunkedAnswer, send_whole
from apikeyrouter.interfaces.http.asgi import (
    ClientGoneError,
    Receive,
    Scope,
    Send,
    read_body,
)
from apikeyrouter.interfaces.http.callers import caller_of
from apikeyrouter.interfaces.http.headers import (
    EVENT_STREAM_LINES,
    JSON_LINE,
    routing,
)
from apikeyrouter.interfaces.http.leaving import CancelledWhenClientLeaves
from apikeyrouter.interfaces.http.openai_errors import error_event, send_error
from apikeyrouter.interfaces.http.openai_requests import Asked, parse_chat, parse_embeddings
from apikeyrouter.interfaces.http.usage_events import without_usage_events


def chat_completions(node: Node, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
    """Serve `POST /v1/chat/completions`, whole or as a stream."""
    return _serve(node, scope, receive, send, parse_chat)


def embeddings(node: Node, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
    """Serve `POST /v1/embeddings`."""
    return _serve(node, scope, receive, send, parse_embeddings)


Parse = Callable[..., Asked]


async def _serve(node: Node, scope: Scope, receive: Receive, send: Send, parse: Parse) -> None:
    try:
        raw = await read_body(scope, receive, node.settings.max_body_bytes)
        asked = parse(raw, node.state, caller_of(node, scope))
        with CancelledWhenClientLeaves(scope, receive, send):
            await (_stream if asked.stream else _whole)(node, asked, scope, send)
    except SystemError as error:
        await send_error(send, error)
    except ClientGoneError:
        return


async def _whole(node: Node, asked: Asked, scope: Scope, send: Send) -> None:
    passage, answer = await node.route.execute(asked.order)
    await send_whole(scope, send, [JSON_LINE, *routing(passage)], answer.body)


async def _stream(node: Node, asked: Asked, scope: Scope, send: Send) -> None:
    passage, stream = await node.route.open_stream(asked.order)
    answer = ChunkedAnswer(scope, send, [*EVENT_STREAM_LINES, *routing(passage)])

    def wanted(chunk: bytes) -> bytes:
        return chunk if asked.wants_usage else without_usage_events(chunk)

    def written(chunk: bytes) -> bool:
        events = wanted(chunk)
        return not events or answer.written(events)

    try:
        more = True
        try:
            stream.relay(written)
            async for chunk in stream:
                more = not stream.settled
                if not more:
                    await answer.end(wanted(chunk))
                elif not written(chunk):
                    await answer.write(wanted(chunk))
        except SystemError as error:
            await answer.write(error_event(error))
        if more:
            await answer.end()
    finally:
        stream.close()

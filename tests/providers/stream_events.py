"""Events and streams in OpenAI's dialect, written by hand."""

import json

from raw_server import chunked, response

from apikeyrouter.domain.failures import AttemptFailedError

HEAD = response(
    framing="none",
    headers=("Content-Type: text/event-stream", "Transfer-Encoding: chunked", "X-Request-Id: req_9"),
)
LAST = b"0\r\n\r\n"
DONE = b"data: [DONE]\n\n"


def event(finish=None, usage=None, content="hi", separators=(",", ":")):
    """Write one event of a chat stream."""
    fields = {
        "id": "chatcmpl-1",
        "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish}],
        "usage": usage,
    }
    return b"data: " + json.dumps(fields, separators=separators).encode() + b"\n\n"


def error_event(code="insufficient_quota"):
    """Write an error as an event."""
    return b"data: " + json.dumps({"error": {"message": "no", "type": "x", "code": code}}).encode() + b"\n\n"


def of_responses(kind, **fields):
    """Write one event of a Responses stream."""
    data = json.dumps({"type": kind} | fields).encode()
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"


USAGE = {"prompt_tokens": 11, "completion_tokens": 2, "total_tokens": 13}
EVENTS = [event(), event(), event("stop"), event(usage=USAGE), DONE]


def streaming(*events, end=LAST):
    """Script: answer with a stream, one packet an event."""

    async def script(peer):
        while True:
            await peer.request()
            await peer.send(HEAD, *[chunked(piece) for piece in events], end)
            if end != LAST:
                await peer.hang_up()

    return script


async def collected(stream, passed):
    """Read a stream to whatever end; its bytes join what has been passed on. Return its failure."""
    try:
        async for chunk in stream:
            passed += chunk
    except AttemptFailedError as error:
        return error.failure
    return None


async def read_out(stream):
    """Read a stream to whatever end, and return its bytes and its failure."""
    passed = bytearray()
    failed = await collected(stream, passed)
    return bytes(passed), failed

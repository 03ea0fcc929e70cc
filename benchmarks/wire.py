"""What is sent and answered: the request bodies of the load generator, the answers of the mock upstream."""

import json

MODEL = "gpt-4o-mini"
PROVIDER_KEY = "sk-bench-upstream-0001"
ANSWER_BYTES = 1024
STREAM_EVENTS = 23
DONE = b"data: [DONE]\n\n"

MESSAGES = [
    {"role": "system", "content": "You answer in one short paragraph."},
    {"role": "user", "content": "Why does an append-only log make a good audit trail? Name two reasons."},
]
USAGE = {"prompt_tokens": 34, "completion_tokens": 120, "total_tokens": 154}


def chat_body(model: str, *, stream: bool) -> bytes:
    """Return a chat request in OpenAI's dialect."""
    body: dict[str, object] = {"model": model, "messages": MESSAGES, "max_tokens": 256}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(body, separators=(",", ":")).encode()


def answer_body() -> bytes:
    """Return a whole answer of `ANSWER_BYTES`, with its usage."""
    bare = len(_answer(""))
    return _answer("x" * (ANSWER_BYTES - bare))


def stream_events() -> list[bytes]:
    """Return a streamed answer: a role, words, a finish reason, the usage; `STREAM_EVENTS` in all."""
    words = [_chunk({"content": f" word{number}"}) for number in range(STREAM_EVENTS - 3)]
    return [
        _chunk({"role": "assistant", "content": ""}),
        *words,
        _chunk({}, finish_reason="stop"),
        _event({"choices": [], "usage": USAGE}),
    ]


def _answer(content: str) -> bytes:
    message = {"role": "assistant", "content": content, "refusal": None}
    answer = {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 1760000000,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": USAGE,
    }
    return json.dumps(answer).encode()


def _chunk(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    return _event(
        {"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]}
    )


def _event(fields: dict[str, object]) -> bytes:
    head = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1760000000, "model": MODEL}
    return b"data: " + json.dumps(head | fields).encode() + b"\n\n"

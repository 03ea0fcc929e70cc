"""Answers of the Responses API, whole and as its named events."""

from collections.abc import Iterator
from typing import Any

from apikeyrouter.interfaces.scripted_provider.answers import (
    RESPONSES_USAGE,
    Manner,
    Piece,
    Said,
    Tag,
    encode,
    spoken,
    usage_of,
)
from apikeyrouter.interfaces.scripted_provider.asks import Ask


def response(ask: Ask, tag: Tag, said: Said, manner: Manner) -> dict[str, Any]:
    """Write the finished response object."""
    incomplete = said.finish_reason == "length"
    total = ask.input_tokens + said.tokens
    return begun(ask, tag) | {
        "status": "incomplete" if incomplete else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if incomplete else None,
        "output": [item(tag, said, said.text)],
        **usage_of(RESPONSES_USAGE, manner, ask.input_tokens, said.tokens, total),
    }


def begun(ask: Ask, tag: Tag) -> dict[str, Any]:
    """Write the response object as it is before anything was said."""
    return {
        "id": f"resp_scripted_{tag.number}",
        "object": "response",
        "created_at": tag.created_s,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": ask.model,
        "output": [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": None,
    }


def text_part(text: str) -> dict[str, Any]:
    """Write the content of a message."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def item(tag: Tag, said: Said, text: str | None) -> dict[str, Any]:
    """Write the one output item, a message or a function call; without text it has only begun."""
    status = "in_progress" if text is None else "completed"
    if said.tool_name is not None:
        call = {"type": "function_call", "id": item_id(tag, said), "call_id": "call_scripted"}
        return call | {"name": said.tool_name, "arguments": text or "", "status": status}
    content = [] if text is None else [text_part(text)]
    return {
        "type": "message",
        "id": item_id(tag, said),
        "role": "assistant",
        "status": status,
        "content": content,
    }


def item_id(tag: Tag, said: Said) -> str:
    """Name the output item."""
    return f"{'fc' if said.tool_name else 'msg'}_scripted_{tag.number}"


def whole_response(ask: Ask, tag: Tag, said: Said, manner: Manner) -> Piece:
    """Write a whole answer."""
    return Piece(encode(response(ask, tag, said, manner)), said.tokens)


def streamed_response(
    ask: Ask, tag: Tag, said: Said, manner: Manner, tokens_per_event: int
) -> Iterator[Piece]:
    """Write an answer as events, numbered in sequence."""
    for number, (name, content, tokens) in enumerate(events(ask, tag, said, manner, tokens_per_event)):
        data = encode({"type": name, "sequence_number": number, **content})
        yield Piece(b"event: " + name.encode() + b"\ndata: " + data + b"\n\n", tokens)


Event = tuple[str, dict[str, Any], int]


def events(ask: Ask, tag: Tag, said: Said, manner: Manner, tokens_per_event: int) -> Iterator[Event]:
    """Tell the story of a response: created, one item added, its deltas, done, completed."""
    place = {"item_id": item_id(tag, said), "output_index": 0}
    yield "response.created", {"response": begun(ask, tag)}, 0
    yield "response.in_progress", {"response": begun(ask, tag)}, 0
    yield "response.output_item.added", {"output_index": 0, "item": item(tag, said, None)}, 0
    speak = argument_events if said.tool_name else text_events
    yield from speak(said, place, tokens_per_event)
    yield "response.output_item.done", {"output_index": 0, "item": item(tag, said, said.text)}, 0
    finished = response(ask, tag, said, manner)
    yield f"response.{finished['status']}", {"response": finished}, 0


def text_events(said: Said, place: dict[str, Any], tokens_per_event: int) -> Iterator[Event]:
    """Tell the text of a message."""
    place = place | {"content_index": 0}
    yield "response.content_part.added", place | {"part": text_part("")}, 0
    for text, tokens in spoken(said, tokens_per_event):
        yield "response.output_text.delta", place | {"delta": text, "logprobs": []}, tokens
    yield "response.output_text.done", place | {"text": said.text, "logprobs": []}, 0
    yield "response.content_part.done", place | {"part": text_part(said.text)}, 0


def argument_events(said: Said, place: dict[str, Any], tokens_per_event: int) -> Iterator[Event]:
    """Tell the arguments of a function call."""
    for text, tokens in spoken(said, tokens_per_event):
        yield "response.function_call_arguments.delta", place | {"delta": text}, tokens
    yield "response.function_call_arguments.done", place | {"arguments": said.text, "name": said.tool_name}, 0

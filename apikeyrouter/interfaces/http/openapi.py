"""Describe the hot routes, which FastAPI never sees, in the OpenAPI document."""

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI

VERSION = version("apikeyrouter-core")

_MESSAGES = {"type": "array", "minItems": 1, "items": {"type": "object"}}
_ERROR = {
    "description": "An error in OpenAI's shape",
    "content": {"application/json": {"schema": {"type": "object", "required": ["error"]}}},
}


def _operation(summary: str, required: dict[str, Any], optional: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "required": list(required), "properties": {**required, **optional}}
    answer = {
        "description": "The provider's answer",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
    return {
        "post": {
            "tags": ["openai"],
            "summary": summary,
            "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
            "responses": {"200": answer, "default": _ERROR},
        }
    }


HOT_PATHS = {
    "/v1/chat/completions": _operation(
        "Complete a chat, whole or as a stream",
        {"model": {"type": "string"}, "messages": _MESSAGES},
        {"stream": {"type": "boolean"}, "max_tokens": {"type": "integer", "minimum": 1}},
    ),
    "/v1/embeddings": _operation(
        "Embed text",
        {"model": {"type": "string"}, "input": {"anyOf": [{"type": "string"}, {"type": "array"}]}},
        {},
    ),
}


def document_hot_routes(app: FastAPI) -> None:
    """Add the hot routes to what FastAPI describes by itself."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        document = described()
        document["paths"] = {**HOT_PATHS, **document["paths"]}
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document

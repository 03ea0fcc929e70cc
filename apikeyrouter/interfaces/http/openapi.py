"""Describe what FastAPI does not see in the OpenAPI document: the hot routes, and the management key."""

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


MANAGEMENT_PATHS = "/api/v1/"
MANAGEMENT_KEY = {
    "type": "apiKey",
    "in": "header",
    "name": "X-API-Key",
    "description": "The management key; as a bearer token it is taken too.",
}


def complete_document(app: FastAPI) -> None:
    """Add the hot routes, and the key that management takes, to what FastAPI describes by itself."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        document = described()
        document["paths"] = {**HOT_PATHS, **document["paths"]}
        document.setdefault("components", {})["securitySchemes"] = {"managementKey": MANAGEMENT_KEY}
        for path, operations in document["paths"].items():
            if path.startswith(MANAGEMENT_PATHS):
                for operation in operations.values():
                    operation["security"] = [{"managementKey": []}]
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document

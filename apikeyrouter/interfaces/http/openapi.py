"""Describe what FastAPI does not see in the OpenAPI document: the plain routes, and the management key."""

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI

VERSION = version("apikeyrouter-core")

_MESSAGES = {"type": "array", "minItems": 1, "items": {"type": "object"}}
_ERROR = {
    "description": "An error in OpenAI's shape",
    "content": {"application/json": {"schema": {"type": "object", "required": ["error"]}}},
}


def _completion(summary: str, required: dict[str, Any], optional: dict[str, Any]) -> dict[str, Any]:
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


def _page(
    tag: str, summary: str, media_type: str = "application/json", parameters: tuple[str, ...] = ()
) -> dict[str, Any]:
    answer = {"description": "Successful response", "content": {media_type: {"schema": {}}}}
    named = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in parameters
    ]
    return {
        "get": {
            "tags": [tag],
            "summary": summary,
            **({"parameters": named} if named else {}),
            "responses": {"200": answer, "default": _ERROR},
        }
    }


PLAIN_PATHS = {
    "/v1/chat/completions": _completion(
        "Complete a chat, whole or as a stream",
        {"model": {"type": "string"}, "messages": _MESSAGES},
        {"stream": {"type": "boolean"}, "max_tokens": {"type": "integer", "minimum": 1}},
    ),
    "/v1/embeddings": _completion(
        "Embed text",
        {"model": {"type": "string"}, "input": {"anyOf": [{"type": "string"}, {"type": "array"}]}},
        {},
    ),
    "/v1/models": _page("openai", "List the models that can be asked for by name"),
    "/v1/models/{model}": _page("openai", "Return one model", parameters=("model",)),
    "/health": _page("health", "Tell whether requests can be served, else 503"),
    "/health/ready": _page("health", "Tell whether requests can be served, else 503"),
    "/health/live": _page("health", "Tell that the process runs"),
    "/metrics": _page("health", "Return the metrics in Prometheus' text format", "text/plain"),
}


MANAGEMENT_PATHS = "/api/v1/"
MANAGEMENT_KEY = {
    "type": "apiKey",
    "in": "header",
    "name": "X-API-Key",
    "description": "The management key; as a bearer token it is taken too.",
}


def complete_document(app: FastAPI) -> None:
    """Add the plain routes, and the key that management takes, to what FastAPI describes by itself."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        document = described()
        document["paths"] = {**PLAIN_PATHS, **document["paths"]}
        document.setdefault("components", {})["securitySchemes"] = {"managementKey": MANAGEMENT_KEY}
        for path, operations in document["paths"].items():
            if path.startswith(MANAGEMENT_PATHS):
                for operation in operations.values():
                    operation["security"] = [{"managementKey": []}]
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document

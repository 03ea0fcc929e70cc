"""The tutorial's pass-through: FastAPI and one shared httpx client."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

UPSTREAM = os.environ["BENCH_UPSTREAM_URL"] + "/v1/chat/completions"
HEADERS = {"authorization": "Bearer " + os.environ["BENCH_PROVIDER_KEY"]}


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with httpx.AsyncClient(timeout=60) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=_lifespan)


@app.post("/v1/chat/completions")
async def chat(body: dict[str, Any], request: Request) -> Response:
    """Pass a chat request on."""
    client: httpx.AsyncClient = request.app.state.client
    if body.get("stream"):
        return StreamingResponse(_stream(client, body), media_type="text/event-stream")
    answer = await client.post(UPSTREAM, json=body, headers=HEADERS)
    return Response(answer.content, answer.status_code, media_type=answer.headers["content-type"])


async def _stream(client: httpx.AsyncClient, body: dict[str, Any]) -> AsyncIterator[bytes]:
    async with client.stream("POST", UPSTREAM, json=body, headers=HEADERS) as answer:
        async for chunk in answer.aiter_bytes():
            yield chunk

"""The witness over HTTP: one call that takes a checkpoint, and one that tells the witness's key."""

import asyncio

from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse

from apikeyrouter.application.proof.witness import Witness
from apikeyrouter.domain.proof.notes import VerifierKey
from apikeyrouter.limits import MOST_NOTE_BYTES

MOST_BODY_BYTES = 2 * MOST_NOTE_BYTES
_SIZE = "text/x.tlog.size"


def witness_app(witness: Witness, key: VerifierKey) -> FastAPI:
    """Build the application of a witness, without pages: only logs talk to it."""
    app = FastAPI(title="ApiKeyRouter witness", docs_url=None, redoc_url=None, openapi_url=None)

    @app.post("/add-checkpoint", response_class=PlainTextResponse)
    async def add_checkpoint(request: Request) -> Response:
        body = await _bounded(request)
        if body is None:
            return PlainTextResponse("too long\n", status_code=413)
        answer = await asyncio.to_thread(witness.add_checkpoint, body)
        kind = _SIZE if answer.status == 409 else "text/plain; charset=utf-8"
        return Response(answer.text, status_code=answer.status, headers={"content-type": kind})

    @app.get("/key", response_class=PlainTextResponse)
    async def verifier_key() -> str:
        return key.render() + "\n"

    return app


async def _bounded(request: Request) -> bytes | None:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BODY_BYTES:
            return None
    return bytes(body)

"""Kept bodies as answers: on the command line as over HTTP and in Python."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from apikeyrouter.adapters.proof.opening import evidence_of
from apikeyrouter.application.audit import event_as_data
from apikeyrouter.application.payloads.checking import PayloadCheck
from apikeyrouter.application.payloads.erasing import Erasure
from apikeyrouter.application.payloads.ports import Payload
from apikeyrouter.application.payloads.reading import OpenedPayload
from apikeyrouter.application.proof.proving import prove_event
from apikeyrouter.bootstrap import Node
from apikeyrouter.domain.events import CaptureSet
from apikeyrouter.domain.models.system_error import NotFoundError
from apikeyrouter.domain.state import RouterState


def captures_view(state: RouterState) -> list[dict[str, Any]]:
    """List the clients whose bodies are kept, and those of whom some are kept still."""
    capturing = state.payloads.capturing
    clients = sorted({*capturing, *state.payloads.keep_us})
    return [
        capture_view(client, capturing.get(client), state.payloads.keep_us.get(client)) for client in clients
    ]


def capture_view(client_id: str, told: CaptureSet | None, keep_us: int | None) -> dict[str, Any]:
    """Tell whether a client's bodies are kept, by whose word, and how long."""
    return {
        "client_id": client_id,
        "enabled": told is not None and told.enabled,
        "keep_us": keep_us,
        "since_us": None if told is None else told.at_us,
        "actor": None if told is None else told.actor,
        "reason": None if told is None else told.reason,
    }


def payload_view(payload: Payload) -> dict[str, Any]:
    """Tell what is kept of a request, unopened."""
    return {
        "request_id": payload.request_id,
        "client_id": payload.client_id,
        "subject": payload.subject,
        "taken_at_us": payload.taken_at_us,
        "key_fingerprint": payload.key_fingerprint,
        "parts": [
            {"truncated": part.truncated, **msgspec.to_builtins(part)}  # defaults are told as well
            for part in payload.parts
        ],
    }


def payloads_view(payloads: Sequence[Payload]) -> list[dict[str, Any]]:
    """List what is kept, unopened."""
    return [payload_view(payload) for payload in payloads]


def opened_view(opened: OpenedPayload) -> dict[str, Any]:
    """Show bodies as text; what is no UTF-8, as at the end of one that was cut, is shown as a replacement."""
    texts = {part: body.decode("utf-8", "replace") for part, body in opened.bodies.items()}
    return {**payload_view(opened.payload), "bodies": texts}


def check_view(check: PayloadCheck) -> dict[str, Any]:
    """Tell what a check found."""
    return {"ok": not check.findings, **msgspec.to_builtins(check)}


async def receipt_view(node: Node, erasure: Erasure) -> dict[str, Any]:
    """Make the receipt of an erasure: its events, and proofs that the log has them once it is sealed."""
    order = erasure.order
    proofs = await asyncio.to_thread(_proofs, node, erasure)
    return {
        "erasure_id": erasure.erasure_id,
        "finished": erasure.finished,
        "client_id": order.client_id,
        "actor": order.actor,
        "reason": order.reason,
        "ordered_at_us": order.at_us,
        "erased_at_us": erasure.erased[-1].at_us if erasure.finished else None,
        "payloads": sum(subject.payloads for subject in order.subjects),
        "subjects": msgspec.to_builtins(order.subjects),
        "events": [event_as_data(recorded) for recorded in erasure.events],
        "sealed": len(proofs) == len(erasure.events),
        "proofs": proofs,
    }


def _proofs(node: Node, erasure: Erasure) -> list[Mapping[str, Any]]:
    path = node.settings.database_path
    if path is None:
        return []
    try:
        evidence = evidence_of(node.settings, path.resolve())
        return [
            msgspec.to_builtins(prove_event(evidence.rows, evidence.seals, recorded.position))
            for recorded in erasure.events
        ]
    except NotFoundError:  # not sealed yet: that follows within seconds
        return []

"""Checkpoints and proofs for those who keep copies, and evidence for those who ask."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Response

from apikeyrouter.adapters.proof.evidence_bundle import archived, bundle_of
from apikeyrouter.adapters.proof.opening import evidence_of, signer_of
from apikeyrouter.application.proof import subjects
from apikeyrouter.application.proof.proving import latest, prove_event, prove_growth
from apikeyrouter.application.proof.subjects import Subject
from apikeyrouter.application.proof.verification import Evidence
from apikeyrouter.bootstrap import Node
from apikeyrouter.domain.models.system_error import NotFoundError
from apikeyrouter.interfaces.http.node_access import NodeDependency
from apikeyrouter.interfaces.proof_views import checkpoint_view

router = APIRouter(tags=["proofs"])

Position = Annotated[int, Query(ge=1)]


@router.get("/checkpoints")
async def latest_checkpoint(node: NodeDependency) -> dict[str, Any]:
    """Return the latest signed checkpoint and the log's public key; keep copies elsewhere."""
    evidence = await asyncio.to_thread(_evidence, node)
    sealed = await asyncio.to_thread(latest, evidence.seals)
    return checkpoint_view(sealed, evidence.key)


@router.get("/proofs/events/{position}")
async def event_proof(position: int, node: NodeDependency) -> dict[str, Any]:
    """Prove that the event at a position is in the log (RFC 9162, inclusion)."""
    evidence = await asyncio.to_thread(_evidence, node)
    proof = await asyncio.to_thread(prove_event, evidence.rows, evidence.seals, position)
    return dict(msgspec.to_builtins(proof))


@router.get("/proofs/growth")
async def growth_proof(node: NodeDependency, old_size: Annotated[int, Query(ge=0)]) -> dict[str, Any]:
    """Prove that the log of an earlier size is the beginning of the log as it is (RFC 9162, consistency)."""
    evidence = await asyncio.to_thread(_evidence, node)
    return dict(msgspec.to_builtins(await asyncio.to_thread(prove_growth, evidence.seals, old_size)))


@router.get("/proofs/requests/{request_id}", response_class=Response)
async def request_evidence(request_id: str, node: NodeDependency) -> Response:
    """Return evidence about a request as a zip archive, with the verifier in it."""
    subject = await asyncio.to_thread(subjects.of_request, node.reader, request_id)
    return await _archive(node, subject)


@router.get("/proofs/positions", response_class=Response)
async def range_evidence(node: NodeDependency, first: Position, last: Position) -> Response:
    """Return evidence about every event from a position to another, as a zip archive."""
    return await _archive(node, subjects.of_positions(first, last))


async def _archive(node: Node, subject: Subject) -> Response:
    content = await asyncio.to_thread(_packed, node, subject)
    name = f'attachment; filename="evidence-{subject.kind}-{subject.name}.zip"'
    return Response(content, media_type="application/zip", headers={"content-disposition": name})


def _packed(node: Node, subject: Subject) -> bytes:
    evidence = _evidence(node)
    signer = signer_of(node.settings, _log_path(node))
    return archived(bundle_of(evidence.rows, evidence.seals, signer, subject))


def _evidence(node: Node) -> Evidence:
    return evidence_of(node.settings, _log_path(node))


def _log_path(node: Node) -> Path:
    path = node.settings.database_path
    if path is None:
        raise NotFoundError("this log lives in memory: it is not sealed, and ends with the process")
    return path.resolve()

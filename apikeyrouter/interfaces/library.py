"""The library: `ApiKeyRouter`, the router as a Python object."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

import msgspec

from apikeyrouter.application.audit import Trail, trail
from apikeyrouter.application.passage import Passage
from apikeyrouter.bootstrap import Node, open_node
from apikeyrouter.domain.explanation import explain
from apikeyrouter.domain.interfaces.provider_adapter import ProviderAdapter, UpstreamAnswer
from apikeyrouter.domain.models.api_key import APIKey
from apikeyrouter.domain.models.cost_estimate import CostEstimate
from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.domain.models.system_response import ResponseMetadata, SystemResponse, TokenUsage
from apikeyrouter.domain.settlement import measured_or_bounded
from apikeyrouter.interfaces.cost_controller import CostController
from apikeyrouter.interfaces.intents import Intent, Objective, order_of
from apikeyrouter.interfaces.key_changes import merged_metadata
from apikeyrouter.interfaces.key_queries import KeyQueries
from apikeyrouter.interfaces.payload_queries import PayloadQueries
from apikeyrouter.interfaces.quota_queries import QuotaQueries
from apikeyrouter.interfaces.views import api_key
from apikeyrouter.settings import RouterSettings

ACTOR = "library"


class ApiKeyRouter:
    """Route requests over keys, and explain every decision.

    Without arguments the log is kept in memory. `config` is a `RouterSettings`, or a mapping of its
    fields; `state_store` is short for its `database_url`: a path or URL that makes the log last.
    Everything opens on first use and closes with `async with` or `await close()`.
    """

    def __init__(
        self,
        state_store: str | None = None,
        observability_manager: None = None,
        config: RouterSettings | Mapping[str, Any] | None = None,
    ) -> None:
        if observability_manager is not None:
            raise InvalidRequestError(
                "observability_manager takes None: logs go through structlog, metrics through the event log",
                param="observability_manager",
            )
        self._settings = _settings(config, state_store)
        self._node: Node | None = None
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Write what is pending and give everything back; harmless when nothing is open."""
        node, self._node = self._node, None
        if node is not None:
            await node.close()

    # --- providers and keys --------------------------------------------------------------------------

    async def register_provider(
        self,
        provider_id: str,
        adapter: ProviderAdapter,
        overwrite: bool = False,  # noqa: FBT001, FBT002 - published
    ) -> None:
        """Attach an adapter to a provider id; a second time only with `overwrite`."""
        node = await self._open()
        await node.manage.register_provider(provider_id, adapter, actor=ACTOR, overwrite=overwrite)

    async def register_key(
        self, key_material: str, provider_id: str, metadata: Mapping[str, Any] | None = None
    ) -> APIKey:
        """Seal a key and make it a candidate. `metadata` may declare `rpm`, `tpm`, `weight`, `models`, ….

        Raises `ConflictError` if the same material is registered already.
        """
        node = await self._open()
        key = await node.manage.register_key(key_material, provider_id, metadata, actor=ACTOR)
        return api_key(node.state, key)

    async def rotate_key(self, key_id: str, key_material: str) -> APIKey:
        """Replace a key's material; its id and history stay, and a rejected key is healed."""
        node = await self._open()
        return api_key(node.state, await node.manage.rotate_key(key_id, key_material, actor=ACTOR))

    async def disable_key(self, key_id: str) -> APIKey:
        """Take a key out of service at once; requests under way finish."""
        node = await self._open()
        return api_key(node.state, await node.manage.disable_key(key_id, actor=ACTOR))

    async def drain_key(self, key_id: str) -> APIKey:
        """Give a key no new requests; it is disabled when those under way have ended."""
        node = await self._open()
        return api_key(node.state, await node.manage.drain_key(key_id, actor=ACTOR))

    async def enable_key(self, key_id: str) -> APIKey:
        """Bring a disabled or draining key back to what it was."""
        node = await self._open()
        return api_key(node.state, await node.manage.enable_key(key_id, actor=ACTOR))

    async def pin_key(self, key_id: str) -> APIKey:
        """Prefer a key to all that are not pinned, as long as it may be chosen."""
        node = await self._open()
        return api_key(node.state, await node.manage.pin_key(key_id, actor=ACTOR))

    async def unpin_key(self, key_id: str) -> APIKey:
        """Prefer a key no longer."""
        node = await self._open()
        return api_key(node.state, await node.manage.pin_key(key_id, actor=ACTOR, pinned=False))

    async def update_key(self, key_id: str, metadata: Mapping[str, Any]) -> APIKey:
        """Change what is declared of a key: entries replace those of the same name, None removes one."""
        node = await self._open()
        merged = merged_metadata(node.manage.key(key_id).metadata, metadata)
        return api_key(node.state, await node.manage.change_key_metadata(key_id, merged, actor=ACTOR))

    async def revoke_key(self, key_id: str) -> APIKey:
        """End a key for ever and destroy its material."""
        node = await self._open()
        return api_key(node.state, await node.manage.revoke_key(key_id, actor=ACTOR))

    # --- requests ------------------------------------------------------------------------------------

    async def route(self, intent: Intent, objective: Objective = None) -> SystemResponse:
        """Serve an intent by the best key for the objective.

        Raises `BudgetExceededError`, `PriceUnknownError`, `NoEligibleKeysError`, `ProviderError`,
        `InvalidRequestError`, `LogUnavailableError`.
        """
        node = await self._open()
        passage, answer = await node.route.execute(order_of(node, intent, objective))
        return _response(passage, answer)

    async def route_stream(
        self, intent: Intent, objective: Objective = None
    ) -> AsyncIterator[dict[str, Any]]:
        """Serve an intent as a stream of chunks in OpenAI's dialect, with the same accounting."""
        node = await self._open()
        _, stream = await node.route.open_stream(order_of(node, intent, objective, stream=True))
        try:
            async for events in stream:
                for chunk in _chunks(events):
                    yield chunk
        finally:
            stream.close()

    # --- questions -----------------------------------------------------------------------------------

    async def explain(self, request_id: str) -> Trail:
        """Return everything the log says of a request: sentences, events and evidence."""
        node = await self._open()
        return await asyncio.to_thread(trail, node.reader, request_id)

    async def get_state_summary(self) -> dict[str, Any]:
        """Count keys by state and tell the position that the state stands at."""
        node = await self._open()
        return node.summary()

    @property
    def key_manager(self) -> KeyQueries:
        """Questions about keys."""
        return KeyQueries(self._open)

    @property
    def quota_awareness_engine(self) -> QuotaQueries:
        """Questions about quotas: what is left of them, and when they run out."""
        return QuotaQueries(self._open)

    @property
    def cost_controller(self) -> CostController:
        """Money: budgets, prices, and which models may stand in for which."""
        return CostController(self._open)

    @property
    def payloads(self) -> PayloadQueries:
        """Bodies of requests and answers: whose are kept, what they say, and their erasure."""
        return PayloadQueries(self._open)

    async def _open(self) -> Node:
        if self._node is None:
            async with self._opening:
                if self._node is None:
                    self._node = await open_node(self._settings)
        return self._node


def _settings(config: RouterSettings | Mapping[str, Any] | None, state_store: str | None) -> RouterSettings:
    if isinstance(config, RouterSettings):
        return config if state_store is None else config.model_copy(update={"database_url": state_store})
    fields = dict(config or {})
    if state_store is not None:
        fields["database_url"] = state_store
    return RouterSettings(**fields)


def _response(passage: Passage, answer: UpstreamAnswer) -> SystemResponse:
    decision = passage.chosen
    usage, source = measured_or_bounded(decision, passage.offer, answer.usage, len(answer.body))
    body = msgspec.json.decode(answer.body, type=dict[str, Any])
    return SystemResponse(
        content=_content(body),
        key_used=decision.chosen.key_id,
        request_id=passage.request_id,
        cost=CostEstimate.from_nano_usd(passage.cost_nano_usd),
        metadata=ResponseMetadata(
            model_used=answer.model or decision.model,
            tokens_used=TokenUsage(
                input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, source=source
            ),
            response_time_ms=passage.elapsed_us / 1000,
            provider_id=decision.chosen.provider_id,
            finish_reason=answer.finish_reason,
            correlation_id=decision.facts.correlation_id or passage.request_id,
            routing_explanation=explain(decision),
            attempts=passage.attempt,
        ),
        decision=msgspec.to_builtins(decision),
        body=body,
    )


def _content(body: dict[str, Any]) -> str | None:
    match body.get("choices"):
        case [{"message": {"content": str() as content}}, *_]:
            return content
    return None


def _chunks(events: bytes) -> list[dict[str, Any]]:
    lines = (line for line in events.splitlines() if line.startswith(b"data:"))
    payloads = (line[5:].strip() for line in lines)
    return [msgspec.json.decode(payload) for payload in payloads if payload and payload != b"[DONE]"]

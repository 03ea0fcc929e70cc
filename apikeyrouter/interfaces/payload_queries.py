"""Kept bodies, as the library switches, reads and erases them."""

from collections.abc import Awaitable, Callable
from typing import Any

from apikeyrouter.application.payloads.terms import parse_keep
from apikeyrouter.bootstrap import Node
from apikeyrouter.interfaces.payload_views import (
    captures_view,
    check_view,
    opened_view,
    payloads_view,
    receipt_view,
)

ACTOR = "library"


class PayloadQueries:
    """Bodies of requests and answers. Nobody's are kept until `capture_on` says so."""

    def __init__(self, open_node: Callable[[], Awaitable[Node]]) -> None:
        self._open_node = open_node

    async def capture_on(
        self, client_id: str, *, keep: str | None = None, reason: str | None = None
    ) -> list[dict[str, Any]]:
        """Keep a client's bodies from now on; `keep` is how long, such as 30d, None: until erased."""
        node = await self._open_node()
        keep_us = None if keep is None else parse_keep(keep)
        await node.payloads.terms.switch_on(client_id, actor=ACTOR, keep_us=keep_us, reason=reason)
        return captures_view(node.state)

    async def capture_off(self, client_id: str, *, reason: str | None = None) -> list[dict[str, Any]]:
        """Keep none of a client's requests that begin from now on; what is kept stays."""
        node = await self._open_node()
        await node.payloads.terms.switch_off(client_id, actor=ACTOR, reason=reason)
        return captures_view(node.state)

    async def captures(self) -> list[dict[str, Any]]:
        """List the clients whose bodies are kept."""
        return captures_view((await self._open_node()).state)

    async def pseudonym(self, client_id: str, subject: str | None = None) -> str:
        """Return the name under which a client's person, or the client itself, appears in events."""
        return (await self._open_node()).payloads.reading.pseudonym(client_id, subject)

    async def list_payloads(
        self,
        *,
        client_id: str | None = None,
        subject: str | None = None,
        after: str = "",
        limit: int = 100,
    ) -> list[dict[str, Any]]:
        """List what is kept, unopened, in the order of the requests; `subject` is a pseudonym."""
        reading = (await self._open_node()).payloads.reading
        return payloads_view(
            await reading.listed(client_id=client_id, subject=subject, after=after, limit=limit)
        )

    async def show(self, request_id: str, *, reason: str | None = None) -> dict[str, Any]:
        """Unseal the bodies of a request; that is recorded first. Raises `NotFoundError`."""
        node = await self._open_node()
        return opened_view(await node.payloads.reading.show(request_id, actor=ACTOR, reason=reason))

    async def erase(
        self, client_id: str, subject: str | None = None, *, reason: str | None = None
    ) -> dict[str, Any]:
        """Destroy the key of a client's person, or of all persons of a client, and return the receipt.

        `subject` is the person as requests name it. Raises `NotFoundError` if nothing is kept, and
        `ConflictError` if a legal hold covers any of it.
        """
        node = await self._open_node()
        erasure = await node.payloads.erasing.erase(client_id, subject, actor=ACTOR, reason=reason)
        return await receipt_view(node, erasure)

    async def receipt(self, erasure_id: str) -> dict[str, Any]:
        """Return the receipt of an erasure, with proofs once it is sealed."""
        node = await self._open_node()
        return await receipt_view(node, await node.payloads.erasing.receipt(erasure_id))

    async def expire(self) -> dict[str, int]:
        """Delete what is older than it may be kept; return how many payloads of which client."""
        return await (await self._open_node()).payloads.expiring.expire()

    async def verify(self) -> dict[str, Any]:
        """Compare what lies sealed with what the log says of it."""
        return check_view(await (await self._open_node()).payloads.check())

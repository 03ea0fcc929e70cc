"""The connections of a server, known by the client's address, so that the app can cut one on purpose."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

Address = tuple[str, int]


class Connections:
    """Open connections, and how many there ever were."""

    def __init__(self) -> None:
        self.made = 0
        self._open: dict[Address, asyncio.Transport] = {}
        self._addresses: dict[asyncio.Transport, Address] = {}  # a closed transport no longer tells its own

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, transport: asyncio.Transport) -> None:
        """Enter a new connection."""
        self.made += 1
        address = transport.get_extra_info("peername")
        self._open[address] = transport
        self._addresses[transport] = address

    def closed(self, transport: asyncio.Transport) -> None:
        """Strike out a connection that is gone."""
        address = self._addresses.pop(transport)
        if self._open.get(address) is transport:  # the client may already use its port again
            del self._open[address]

    def find(self, client: Address | None) -> asyncio.Transport | None:
        """Return the connection of a client, or None if another server holds it."""
        return None if client is None else self._open.get(client)

    def abort(self) -> None:
        """Close every connection at once."""
        for transport in list(self._open.values()):
            transport.abort()


def protocol_of(connections: Connections) -> type[HttpToolsProtocol]:
    """Make uvicorn's protocol class enter its connections here."""

    class EnteredProtocol(HttpToolsProtocol):
        """uvicorn's HTTP/1.1, with its connections entered."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
            super().connection_made(transport)
            connections.opened(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            connections.closed(self.transport)
            super().connection_lost(exc)

    return EnteredProtocol

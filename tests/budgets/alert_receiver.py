"""A receiver of alerts on loopback: it takes, refuses, hangs or breaks, and keeps what it was told."""

import asyncio
import contextlib
import json


class Receiver:
    """Answers each post by the next of its `answers`, and with 200 when there are none left.

    An answer is a status, or "hang", or "drip" (a head without end), or "break".
    """

    def __init__(self, *answers: int | str) -> None:
        self.answers = list(answers)
        self.told: list[dict] = []
        self.heads: list[str] = []
        self.posts = 0
        self.port = 0
        self._connections: set[asyncio.Task] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook/a-secret-path"

    @property
    def ids(self) -> list[str]:
        """The ids of the alerts that were taken."""
        return [alert["alert_id"] for alert in self.told]

    @contextlib.asynccontextmanager
    async def listening(self):
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for connection in self._connections:
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)
            self._connections.clear()

    async def _serve(self, reader, writer):
        self._connections.add(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
            body = json.loads(await reader.readexactly(length))
            self.posts += 1
            await self._answer(self.answers.pop(0) if self.answers else 200, body, writer)
        writer.close()

    async def _answer(self, answer, body, writer):
        if answer == "hang":
            await asyncio.Event().wait()
        if answer == "drip":
            writer.write(b"HTTP/1.1 200 X\r\nx-slow: ")
            while not writer.is_closing():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)
        if not isinstance(answer, int):
            writer.transport.abort()
            return
        if 200 <= answer < 300:
            self.told.append(body)
        extra = "location: /elsewhere\r\n" if 300 <= answer < 400 else ""
        writer.write(f"HTTP/1.1 {answer} X\r\ncontent-length: 0\r\n{extra}connection: close\r\n\r\n".encode())
        await writer.drain()

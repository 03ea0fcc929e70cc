"""A raw loopback server that plays a script on every connection: the only upstream of these tests."""

import asyncio
import datetime as dt
import ipaddress
import re
import ssl
from contextlib import suppress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

KEY = "sk-canary-5f0Zb7TqLw93XyKdVhRuPm2c"
PATIENCE_S = 5.0


async def until(condition, what="the condition"):
    """Wait for something that must come true."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not come true"
        await asyncio.sleep(0.001)


class Peer:
    """The server's side of one connection."""

    def __init__(self, reader, writer):
        self.requests = []
        self.gone = asyncio.Event()
        self._writer = writer
        self._received = bytearray()
        self._arrived = asyncio.Event()
        self._pump = asyncio.create_task(self._read_all(reader))

    async def request(self):
        """Read one whole request and return its bytes; raise EOFError when the client has left."""
        while (whole := self._whole_request()) is None:
            if self.gone.is_set():
                raise EOFError
            self._arrived.clear()
            await self._arrived.wait()
        self.requests.append(whole)
        return whole

    async def send(self, *pieces):
        """Write pieces, each in a packet of its own as far as the kernel allows."""
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()
            await asyncio.sleep(0)

    async def trickle(self, data, every_s=0.005):
        """Write byte by byte until all is written or the client has left."""
        for at in range(len(data)):
            await self.send(data[at : at + 1])
            with suppress(TimeoutError):
                await asyncio.wait_for(self.gone.wait(), every_s)
                return

    def half_close(self):
        """Say that nothing more will be written, and go on reading."""
        self._writer.write_eof()

    def reset(self):
        """Cut the connection."""
        self._writer.transport.abort()

    async def hang_up(self):
        """Close in good order."""
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()

    async def _read_all(self, reader):
        with suppress(ConnectionError, ssl.SSLError):
            while data := await reader.read(65536):
                self._received += data
                self._arrived.set()
        self.gone.set()
        self._arrived.set()

    def _whole_request(self):
        head_end = self._received.find(b"\r\n\r\n") + 4
        if head_end < 4:
            return None
        length = re.search(rb"content-length: (\d+)", bytes(self._received[:head_end]).lower())
        end = head_end + (int(length[1]) if length else 0)
        if len(self._received) < end:
            return None
        whole = bytes(self._received[:end])
        del self._received[:end]
        return whole


class Server:
    """Where the script is played, and what came in."""

    def __init__(self, script, scheme):
        self.peers = []
        self._script = script
        self._scheme = scheme
        self._plays = set()

    @property
    def url(self):
        """The address of the server."""
        return f"{self._scheme}://127.0.0.1:{self.port}"

    @property
    def requests(self):
        """All requests, on whichever connection."""
        return [request for peer in self.peers for request in peer.requests]

    async def listen(self, ssl_context):
        """Open the port."""
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, ssl=ssl_context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self):
        """Stop listening and drop everybody."""
        self._server.close()
        for peer in self.peers:
            peer.reset()
            peer._pump.cancel()
        for play in tuple(self._plays):
            play.cancel()
        await asyncio.gather(*self._plays, *(peer._pump for peer in self.peers), return_exceptions=True)

    async def _accepted(self, reader, writer):
        peer = Peer(reader, writer)
        self.peers.append(peer)
        play = asyncio.current_task()
        self._plays.add(play)
        try:
            await self._script(peer)
        except (EOFError, ConnectionError, asyncio.CancelledError):
            pass  # the client or the test has left
        finally:
            self._plays.discard(play)


async def serving(script, ssl_context=None):
    """Start a server that plays the script to each connection."""
    server = Server(script, "https" if ssl_context else "http")
    await server.listen(ssl_context)
    return server


def answering(*answers):
    """Script: answer the requests of a connection in turn, the last answer again and again."""

    async def script(peer):
        turn = 0
        while True:
            await peer.request()
            await peer.send(answers[min(turn, len(answers) - 1)])
            turn += 1

    return script


def response(body=b"", *, status="200 OK", headers=(), framing="length"):
    """Write a response by hand."""
    lines = [f"HTTP/1.1 {status}", *headers]
    if framing == "length":
        lines.append(f"Content-Length: {len(body)}")
    if framing == "chunked":
        lines.append("Transfer-Encoding: chunked")
        body = chunked(body) + b"0\r\n\r\n"
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def json_response(body, **options):
    """Write a JSON response by hand."""
    return response(body, headers=("Content-Type: application/json", "X-Request-Id: req_42"), **options)


def chunked(data):
    """Write one chunk of the chunked coding."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n" if data else b""


def tls_contexts(folder):
    """Make a certificate for 127.0.0.1 and return a server's context and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return server, ssl.create_default_context(cafile=str(pem))

"""Ask a server over a transport, in the words of the contract tests."""

import pytest
from raw_server import KEY

from apikeyrouter.adapters.providers.transport import Deadlines, HttpRequest, TransportError

MIB = 1024 * 1024
PATIENT = Deadlines(connect_s=2, first_byte_s=2, idle_s=2, total_s=5)


def request(server, **changes):
    """Build a request to a server, with any field replaced."""
    fields = {
        "method": "POST",
        "url": server.url + "/v1/x?y=1",
        "headers": [("authorization", f"Bearer {KEY}"), ("content-type", "application/json")],
        "body": b'{"hello": 1}',
        "deadlines": PATIENT,
    }
    return HttpRequest(**(fields | changes))


async def exchange(transport, server, limit_bytes=MIB, **changes):
    """Send one request and read its whole answer."""
    answer = await transport.send(request(server, **changes))
    return answer, await answer.read(limit_bytes)


async def failure(transport, server, limit_bytes=MIB, **changes):
    """Send one request that must fail, and return how."""
    with pytest.raises(TransportError) as caught:
        await exchange(transport, server, limit_bytes, **changes)
    return caught.value

"""One post to a receiver: delivered, refused for good, or failed for now. The address is never told."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import NamedTuple

import httpx

TIMEOUT_S = 10.0
HEADERS = {"content-type": "application/json", "user-agent": "apikeyrouter"}
REFUSALS = frozenset({400, 413, 422})
"""By these a receiver says that it will never take this alert; all others may be mended on its side."""


class Outcome(StrEnum):
    """What became of a post."""

    Delivered = "delivered"
    Refused = "refused"
    Failed = "failed"


class Answer(NamedTuple):
    """An outcome and its reason: a status, or the name of an error, whose words may hold the address."""

    outcome: Outcome
    reason: str


class Poster:
    """Posts to one address; redirects are not followed, and no answer is read beyond its status."""

    def __init__(self, client: httpx.AsyncClient, url: httpx.URL, timeout_s: float) -> None:
        self._client = client
        self._url = url
        self._timeout_s = timeout_s

    async def post(self, body: bytes) -> Answer:
        """Post once; whatever happens is an answer."""
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._client.stream("POST", self._url, content=body, headers=HEADERS) as response,
            ):
                return _answer(response.status_code)
        except Exception as error:  # noqa: BLE001 - a receiver, a proxy or a certificate may fail in any way
            return Answer(Outcome.Failed, type(error).__name__)


@contextlib.asynccontextmanager
async def posting_to(address: str, timeout_s: float = TIMEOUT_S) -> AsyncIterator[Poster]:
    """Keep a client for an address; proxies of the environment are for the world, not for this machine."""
    url = httpx.URL(address)
    silence = _Silence(str(url))
    logger = logging.getLogger("httpx")
    logger.addFilter(silence)
    try:
        async with httpx.AsyncClient(
            timeout=timeout_s, follow_redirects=False, trust_env=url.scheme == "https"
        ) as client:
            yield Poster(client, url, timeout_s)
    finally:
        logger.removeFilter(silence)


def _answer(status: int) -> Answer:
    if 200 <= status < 300:
        return Answer(Outcome.Delivered, str(status))
    return Answer(Outcome.Refused if status in REFUSALS else Outcome.Failed, str(status))


class _Silence(logging.Filter):
    """Keeps the client's own lines about an address out of the log: addresses of webhooks are secrets."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a line may be written."""
        return self._address not in record.getMessage()

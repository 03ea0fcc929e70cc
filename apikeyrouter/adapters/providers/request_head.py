"""Write the head of an HTTP/1.1 request, and refuse whatever could smuggle a second one into it."""

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from apikeyrouter.adapters.providers.transport import HttpRequest, TransportError
from apikeyrouter.domain.failures import FailureClass

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_METHODS_WITHOUT_BODY = frozenset({"GET", "HEAD", "DELETE"})
_DEFAULT_PORTS = {"http": 80, "https": 443}
_RESERVED_FIELDS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "expect", "upgrade"}
)


class Origin(NamedTuple):
    """Where connections may be shared: same scheme, host and port."""

    tls: bool
    host: str
    port: int


class Target(NamedTuple):
    """A method and address, made ready once: the origin, and the first lines of the head."""

    origin: Origin
    start: str


def refused() -> TransportError:
    """Say that a request cannot be written safely; nothing was sent."""
    return TransportError(FailureClass.InvalidRequest, sent=False)


@lru_cache(maxsize=1024)
def target_of(method: str, url: str) -> Target:
    """Take an absolute http(s) address apart; anything doubtful is refused."""
    if not _TOKEN.fullmatch(method) or not is_visible_ascii(url) or " " in url:
        raise refused()
    origin, netloc, path = _split(url)
    return Target(origin, f"{method} {path} HTTP/1.1\r\nhost: {netloc}\r\naccept-encoding: identity\r\n")


def _split(url: str) -> tuple[Origin, str, str]:
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
    except (ValueError, KeyError):
        raise refused() from None
    if not parts.hostname or "@" in parts.netloc:
        raise refused()
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Origin(parts.scheme == "https", parts.hostname, port), parts.netloc, path


def head_of(request: HttpRequest, target: Target) -> bytes:
    """Return the request's head, framed by the length of its body."""
    lines = [target.start]
    for name, value in request.headers:
        if not is_visible_ascii(value):
            raise refused()
        lines.append(f"{_field_name(name)}: {value}\r\n")
    if request.body or request.method not in _METHODS_WITHOUT_BODY:
        lines.append(f"content-length: {len(request.body)}\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("ascii")


@lru_cache(maxsize=256)
def _field_name(name: str) -> str:
    if not _TOKEN.fullmatch(name) or name.lower() in _RESERVED_FIELDS:
        raise refused()
    return name


def is_visible_ascii(text: str) -> bool:
    """Tell whether a text holds only visible ASCII and spaces: no CR, LF, NUL, tab or control."""
    return text.isascii() and text.isprintable()

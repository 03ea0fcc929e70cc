"""What the headers of a request say of its caller and of how it is to be routed."""

import msgspec

from apikeyrouter.application.origin import NOBODY, Origin, origin_of
from apikeyrouter.bootstrap import Node
from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.domain.objectives import policy_of
from apikeyrouter.interfaces.http.asgi import Scope
from apikeyrouter.interfaces.http.headers import CLIENT, CORRELATION_ID, DOWNGRADE, OBJECTIVE, TAGS, TEAM
from apikeyrouter.interfaces.http.openai_requests import Caller

LONGEST_CORRELATION_ID = 128

_ASKED = frozenset({OBJECTIVE, CORRELATION_ID, CLIENT, TEAM, TAGS, DOWNGRADE})


def caller_of(node: Node, scope: Scope) -> Caller:
    """Read the headers that are ours, or raise `InvalidRequestError` that names the one at fault."""
    # In one pass: most requests have none of them, and each pass of its own would cost as much as this.
    given = [(name, _text(name, value)) for name, value in scope["headers"] if name in _ASKED]
    told = dict(given)
    if len(told) != len(given):
        told[TAGS] = _all_tags(given)
    policy = policy_of(told.get(OBJECTIVE, node.settings.objective))
    if not told:
        return Caller(policy, None, NOBODY)
    if DOWNGRADE in told:
        policy = msgspec.structs.replace(policy, downgrade=_is_true(told[DOWNGRADE]))
    return Caller(policy, _correlation_id(told.get(CORRELATION_ID)), _origin(told))


def _text(name: bytes, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise InvalidRequestError(f"{name.decode()} is not valid UTF-8", param=name.decode()) from None


def _all_tags(given: list[tuple[bytes, str]]) -> str:
    """Join the lines of tags; every other header may be there once."""
    names = [name for name, _ in given if name != TAGS]
    twice = next((name.decode() for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidRequestError(f"the header {twice} occurs twice", param=twice)
    return ",".join(text for name, text in given if name == TAGS)


def _origin(told: dict[bytes, str]) -> Origin:
    tags = [tag.strip() for tag in told.get(TAGS, "").split(",")]
    return origin_of(told.get(CLIENT), told.get(TEAM), [tag for tag in tags if tag])


def _is_true(text: str) -> bool:
    if text not in {"true", "false"}:
        raise InvalidRequestError(f"{DOWNGRADE.decode()} must be true or false", param=DOWNGRADE.decode())
    return text == "true"


def _correlation_id(text: str | None) -> str | None:
    if text is None:
        return None
    if not text.isprintable() or not text.isascii() or len(text) > LONGEST_CORRELATION_ID:
        raise InvalidRequestError(
            f"x-correlation-id must be at most {LONGEST_CORRELATION_ID} printable ASCII characters"
        )
    return text

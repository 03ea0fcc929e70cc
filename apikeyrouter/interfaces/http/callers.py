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
    told = {name: value.decode("latin-1") for name, value in scope["headers"] if name in _ASKED}
    policy = policy_of(told.get(OBJECTIVE, node.settings.objective))
    if not told:
        return Caller(policy, None, NOBODY)
    if DOWNGRADE in told:
        policy = msgspec.structs.replace(policy, downgrade=_is_true(told[DOWNGRADE]))
    return Caller(policy, _correlation_id(told.get(CORRELATION_ID)), _origin(told))


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
